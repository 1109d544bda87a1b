"""Tells how an adaptation went, from its records alone.

>>> report(told).points[1].values["optimizer.validation.score"]
0.47
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import dspy

from tiltyard.optimizers.ace.choice import Choice, named
from tiltyard.optimizers.ace.records import Measured, Record, Step
from tiltyard.optimizers.ace.settings import Settings
from tiltyard.optimizers.ace.versions import Versions
from tiltyard.optimizers.adapting.spending import Spent, total
from tiltyard.optimizers.playbook.program import PlaybookProgram
from tiltyard.optimizers.report import Attempt, Candidate, OptimizationReport, Point, Snapshot

PLAYBOOK_FILE = "playbook.jsonl"
READABLE_FILE = "playbook.md"
HISTORY_FILE = "playbook_history.jsonl"

ROLES = ("generate", "reflect", "curate", "validate")
"""Who spends: answering training examples, stating lessons, curating them, measuring on validation."""


@dataclass(frozen=True)
class Told:
    """All that a report is written from."""

    settings: Settings
    records: Sequence[Record]
    train: Sequence[dspy.Example]
    versions: Versions
    choice: Choice
    chosen: PlaybookProgram
    """What the compilation returns."""

    @property
    def steps(self) -> list[Step]:
        """The records of steps."""
        return [record for record in self.records if isinstance(record, Step)]

    @property
    def measured(self) -> list[Measured]:
        """The records of measurements."""
        return [record for record in self.records if isinstance(record, Measured)]


def report(told: Told) -> OptimizationReport:
    """The whole report."""
    return OptimizationReport(
        metrics=_metrics(told),
        points=[*_epochs(told), *_stream(told)],
        candidates=_candidates(told),
        files={
            PLAYBOOK_FILE: told.chosen.playbook.dumps(),
            READABLE_FILE: f"# Playbook\n\n{told.chosen.playbook.rendered() or 'It is empty.'}\n",
            HISTORY_FILE: told.versions.grown.history.dumps(),
        },
        notes=[told.choice.note, *_failures(told)],
        warnings=list(_total_failures(told)),
        snapshots=[
            Snapshot(one.epoch, told.settings.program(told.chosen.program, told.versions.of(one)))
            for one in told.measured
            if one.ends_epoch and one.epoch > 0
        ],
        chosen_epoch=_chosen_epoch(told),
        attempts=list(_attempts(told)),
    )


def _chosen_epoch(told: Told) -> int | None:
    """The epoch at whose end the returned playbook stood; None for one from within an epoch."""
    one = told.choice.measured or told.measured[-1]
    return one.epoch if one.program == "student" or one.ends_epoch else None


def _metrics(told: Told) -> dict[str, float]:
    """Figures of the whole compilation, what was done before an interruption included."""
    spent = _spent(told.steps, told.measured)
    everything = total(spent.values())
    playbook = told.chosen.playbook
    metrics = {
        "optimizer.metric_calls": float(_metric_calls(told.steps, told.measured)),
        "optimizer.lm_calls": float(everything.calls),
        "optimizer.tokens.prompt": float(everything.prompt_tokens),
        "optimizer.tokens.completion": float(everything.completion_tokens),
        "optimizer.playbook.entries": float(len(playbook)),
        "optimizer.playbook.tokens": float(playbook.tokens),
        **_counts(told.steps),
        **_of_roles(spent),
    }
    scores = [one.score for one in told.measured if one.score is not None]
    if scores:
        metrics["optimizer.best_score"] = max(scores)
    if told.settings.mode == "online" and (score := _mean_score(told.steps)) is not None:
        metrics["optimizer.prequential_score"] = score
    return metrics


def _epochs(told: Told) -> Iterator[Point]:
    """A point for each epoch; epoch 0 is before the first step."""
    for end in (one for one in told.measured if one.ends_epoch):
        steps = [step for step in told.steps if step.epoch == end.epoch]
        measured = [one for one in told.measured if one.epoch == end.epoch]
        values = {
            "optimizer.playbook.entries": float(end.entries),
            "optimizer.playbook.tokens": float(end.tokens),
            **_counts(steps),
            **_of_roles(_spent(steps, measured)),
        }
        if end.score is not None:
            values["optimizer.validation.score"] = end.score
        if (score := _mean_score(steps)) is not None:
            values["optimizer.train.score"] = score
        yield Point(end.epoch, values)


def _stream(told: Told) -> Iterator[Point]:
    """Online: the mean score of all predictions so far, by how many there were."""
    if told.settings.mode != "online":
        return
    judged, reached = 0, 0.0
    for step in told.steps:
        scores = [tried.score for tried in step.tried if tried.score is not None]
        judged, reached = judged + len(scores), reached + sum(scores)
        if scores:
            yield Point(judged, {"optimizer.prequential_score": reached / judged})


def _candidates(told: Told) -> list[Candidate]:
    returned = told.choice.measured
    candidates = []
    for one in told.measured:
        before = [step for step in told.steps if step.step < one.steps]
        measured = told.measured[: told.measured.index(one) + 1]
        last = told.choice.measured is None and one is told.measured[-1] and one.program == "playbook"
        candidates.append(
            Candidate(
                name=named(one),
                score=one.score,
                examples=one.examples or None,
                metric_calls=_metric_calls(before, measured),
                detail=f"{one.entries} entries, {one.tokens} tokens"
                + (", equal to one before" if one.repeated else ""),
                chosen=one is returned or last,
            )
        )
    return candidates


def _failures(told: Told) -> Iterator[str]:
    """What went wrong, where something did."""
    counts = _counts(told.steps)
    counts["optimizer.answers"] = sum(len(step.tried) for step in told.steps)
    for what, which in (
        ("answers", "answers to training examples"),
        ("reflections", "reflections"),
        ("curations", "curations"),
    ):
        if failed := counts.get(f"optimizer.{what}.failed"):
            yield f"{failed:.0f} of {counts[f'optimizer.{what}']:.0f} {which} failed."


def _total_failures(told: Told) -> Iterator[str]:
    """What never worked at all, so that nothing can have been learnt."""
    counts = _counts(told.steps)
    for what, means in (
        ("reflections", "nothing was learnt from the answers"),
        ("curations", "no lesson came into the playbook"),
    ):
        failed = counts.get(f"optimizer.{what}.failed", 0.0)
        if failed and failed == counts[f"optimizer.{what}"]:
            yield f"All {failed:.0f} {what} failed, so that {means}; playbook_history.jsonl says why."


def _attempts(told: Told) -> Iterator[Attempt]:
    for step in told.steps:
        for tried in step.tried:
            yield Attempt(
                epoch=step.epoch,
                step=step.step,
                example=told.train[tried.example],
                prediction=None if tried.outputs is None else dspy.Prediction(**tried.outputs),
                score=tried.score,
                latency_ms=tried.latency_ms,
                reflected=tried.reflected,
                reflection_latency_ms=tried.reflection_latency_ms,
                error=tried.error,
                prompt_tokens=tried.prompt_tokens,
                completion_tokens=tried.completion_tokens,
            )


def _counts(steps: Sequence[Step]) -> dict[str, float]:
    counts: Counter[str] = Counter()
    for step in steps:
        counts.update(step.counts)
    del counts["metric_calls"]
    return {f"optimizer.{name}": float(number) for name, number in sorted(counts.items())}


def _metric_calls(steps: Sequence[Step], measured: Sequence[Measured]) -> int:
    judged = sum(step.counts.get("metric_calls", 0) for step in steps)
    return judged + sum(one.judged for one in measured)


def _spent(steps: Sequence[Step], measured: Sequence[Measured]) -> dict[str, Spent]:
    spent = {role: total(step.spent[role] for step in steps if role in step.spent) for role in ROLES[:-1]}
    return {**spent, "validate": total(one.spent for one in measured)}


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


def _mean_score(steps: Sequence[Step]) -> float | None:
    scores = [tried.score for step in steps for tried in step.tried if tried.score is not None]
    return sum(scores) / len(scores) if scores else None
