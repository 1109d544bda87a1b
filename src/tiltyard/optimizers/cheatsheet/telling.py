"""Tells how the compilation of a cheatsheet went, from its records alone.

>>> report(told).points[1].values["optimizer.rewrites.refused"]
2.0
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import dspy

from tiltyard.optimizers.adapting.spending import Spent, total
from tiltyard.optimizers.cheatsheet.guard import Verdict
from tiltyard.optimizers.cheatsheet.program import CheatsheetProgram
from tiltyard.optimizers.cheatsheet.records import Answered, Rewritten, Validated
from tiltyard.optimizers.playbook.entry import tokens
from tiltyard.optimizers.report import Attempt, Candidate, OptimizationReport, Point, Snapshot

SHEET_FILE = "cheatsheet.md"
"""The sheet that the returned program carries, where it carries one."""
HISTORY_FILE = "cheatsheet_history.jsonl"
"""Every rewrite with its verdict, in order."""
VERDICTS: tuple[Verdict, ...] = ("kept", "unchanged", "refused", "failed")


@dataclass(frozen=True)
class Ending:
    """The state at the end of an epoch; that of epoch 0 is the student as it came."""

    epoch: int
    program: dspy.Module
    sheet: str
    validated: Validated | None
    """None where no label was looked at, or there are no validation examples."""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return f"epoch {self.epoch}" if self.epoch else "student"


@dataclass(frozen=True)
class Told:
    """All that a report is written from."""

    answers: Sequence[Answered]
    rewrites: Sequence[Rewritten]
    endings: Sequence[Ending]
    """By epoch, from 0."""
    chosen: Ending
    train: Sequence[dspy.Example]
    labels: bool


def choose(endings: Sequence[Ending]) -> Ending:
    """The first with the best validation score, the student included; the last where nothing was scored."""
    scored = [ending for ending in endings if ending.validated is not None]
    return max(scored, key=_score) if scored else endings[-1]


def report(told: Told) -> OptimizationReport:
    """The whole report."""
    everything = range(len(told.endings))
    spent = _spent(told, everything)
    whole = total(spent.values())
    metrics = {
        "optimizer.steps": float(len(told.answers)),
        "optimizer.metric_calls": float(_metric_calls(told, everything)),
        "optimizer.lm_calls": float(whole.calls),
        "optimizer.tokens.prompt": float(whole.prompt_tokens),
        "optimizer.tokens.completion": float(whole.completion_tokens),
        "optimizer.sheet.tokens": float(tokens(_sheet_of(told))),
        **_counts(told, everything),
        **_of_roles(spent),
    }
    if scores := [_score(ending) for ending in told.endings if ending.validated]:
        metrics["optimizer.best_score"] = max(scores)
    return OptimizationReport(
        metrics=metrics,
        points=[_point(told, ending) for ending in told.endings],
        candidates=[_candidate(told, ending) for ending in told.endings],
        files=_files(told),
        notes=[_choice(told), *_observations(told)],
        snapshots=[Snapshot(ending.epoch, ending.program) for ending in told.endings[1:]],
        chosen_epoch=told.chosen.epoch,
        attempts=list(_attempts(told)),
    )


def _files(told: Told) -> dict[str, str]:
    history = {HISTORY_FILE: "".join(_history_line(rewrite) for rewrite in told.rewrites)}
    carries_a_sheet = isinstance(told.chosen.program, CheatsheetProgram)
    return {SHEET_FILE: f"{_sheet_of(told)}\n", **history} if carries_a_sheet else history


def _sheet_of(told: Told) -> str:
    """The sheet that the returned program shows."""
    program = told.chosen.program
    return program.sheet if isinstance(program, CheatsheetProgram) else ""


def _point(told: Told, ending: Ending) -> Point:
    epochs = range(ending.epoch, ending.epoch + 1)
    values = {
        "optimizer.sheet.tokens": float(tokens(ending.sheet)),
        **_counts(told, epochs),
        **_of_roles(_spent(told, epochs)),
    }
    if ending.validated is not None:
        values["optimizer.validation.score"] = ending.validated.score
    scores = [
        answer.score for answer in told.answers if answer.epoch == ending.epoch and answer.score is not None
    ]
    if scores:
        values["optimizer.train.score"] = sum(scores) / len(scores)
    return Point(ending.epoch, values)


def _candidate(told: Told, ending: Ending) -> Candidate:
    found = ending.validated
    return Candidate(
        name=ending.name,
        score=found.score if found else None,
        examples=found.examples if found else None,
        metric_calls=_metric_calls(told, range(ending.epoch + 1)),
        detail=f"{len(ending.sheet.splitlines())} lines, {tokens(ending.sheet)} tokens",
        chosen=ending is told.chosen,
    )


def _choice(told: Told) -> str:
    student, *later = told.endings
    chosen = told.chosen
    if student.validated is None:
        why = "There are no validation examples" if told.labels else "No label was looked at"
        return f"{why}, so nothing was chosen by score: the last cheatsheet is returned, of {chosen.name}."
    measured = f"{student.validated.score:.3f} on {student.validated.examples} validation examples"
    if chosen is student:
        best = max(later, key=_score)
        return (
            f"No cheatsheet beat the student, {measured} (the best, {best.name}: {_score(best):.3f}): "
            f"it is returned as it came."
        )
    score = f"{_score(chosen):.3f}"
    return f"The cheatsheet of {chosen.name} is returned: {score}, against the student's {measured}."


def _observations(told: Told) -> Iterator[str]:
    """What a reader should know of the rewrites, where there is something."""
    of = Counter(rewrite.verdict for rewrite in told.rewrites)
    asked = len(told.rewrites)
    if of["refused"]:
        yield f"{of['refused']} of {asked} rewrites were refused, and the old sheet stayed ({HISTORY_FILE})."
    if of["failed"]:
        yield f"{of['failed']} of {asked} rewrites could not be read."
    if trimmed := sum(rewrite.trimmed_tokens > 0 for rewrite in told.rewrites):
        yield f"{trimmed} of {asked} rewrites were over the token budget and lost their last lines."
    if cut_off := sum(rewrite.cut_off for rewrite in told.rewrites):
        yield f"{cut_off} of {asked} rewrites ended at the model's own token limit: raise its max_tokens."
    if failed := sum(bool(answer.error) for answer in told.answers):
        yield f"{failed} of {len(told.answers)} answers to training examples failed."


def _attempts(told: Told) -> Iterator[Attempt]:
    rewrites = {rewrite.step: rewrite for rewrite in told.rewrites}
    for answer in told.answers:
        rewrite = rewrites.get(answer.step)
        yield Attempt(
            epoch=answer.epoch,
            step=answer.step,
            example=told.train[answer.position],
            prediction=None if answer.outputs is None else dspy.Prediction(**answer.outputs),
            score=answer.score,
            latency_ms=answer.latency_ms,
            reflected=rewrite is not None,
            reflection_latency_ms=1000 * rewrite.spent.seconds if rewrite else None,
            error=answer.error,
            prompt_tokens=answer.spent.prompt_tokens,
            completion_tokens=answer.spent.completion_tokens,
        )


def _history_line(rewrite: Rewritten) -> str:
    values = asdict(rewrite)
    del values["spent"]
    sizes = {"tokens": tokens(rewrite.sheet), "proposed_tokens": tokens(rewrite.proposed)}
    return json.dumps({**values, **sizes}, ensure_ascii=False) + "\n"


def _counts(told: Told, epochs: range) -> dict[str, float]:
    of = Counter(rewrite.verdict for rewrite in told.rewrites if rewrite.epoch in epochs)
    return {f"optimizer.rewrites.{verdict}": float(of[verdict]) for verdict in VERDICTS}


def _metric_calls(told: Told, epochs: range) -> int:
    judged = sum(answer.epoch in epochs and answer.outputs is not None for answer in told.answers)
    measured = [ending.validated for ending in told.endings if ending.epoch in epochs]
    return judged * told.labels + sum(one.judged for one in measured if one)


def _spent(told: Told, epochs: range) -> dict[str, Spent]:
    return {
        "generate": total(answer.spent for answer in told.answers if answer.epoch in epochs),
        "curate": total(rewrite.spent for rewrite in told.rewrites if rewrite.epoch in epochs),
        "validate": total(
            ending.validated.spent for ending in told.endings if ending.validated and ending.epoch in epochs
        ),
    }


def _of_roles(spent: dict[str, Spent]) -> dict[str, float]:
    return {
        name: float(value)
        for role, one in spent.items()
        for name, value in (
            (f"optimizer.tokens.{role}.prompt", one.prompt_tokens),
            (f"optimizer.tokens.{role}.completion", one.completion_tokens),
            (f"optimizer.seconds.{role}", one.seconds),
        )
    }


def _score(ending: Ending) -> float:
    return ending.validated.score if ending.validated else 0.0
