"""One example's way through a program and a metric: what came out, and what it took.

A trial never raises because of the program, the model or the metric; it ends as a row in any case.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dspy

from tiltyard.evaluation.failures import Failure, Kind, is_transient
from tiltyard.evaluation.rows import Row
from tiltyard.tasks.task import Task
from tiltyard.telemetry.calls import SignatureLatency
from tiltyard.telemetry.latency import Call, LatencyRecorder, Timing, cached_phase, timed
from tiltyard.telemetry.usage import Usage

GENERATE = "generate"
"""The phase in which the program runs."""
SCORE = "score"
"""The phase in which the task's metric judges."""
CACHED = cached_phase(GENERATE)
"""The same, where the response cache answered every call: what the look-ups took."""
ORIGINAL = "generate.original"
"""How long an example's completions took when they were made, where all are from the response cache."""

_OF_THE_MODEL: tuple[Kind, ...] = ("context", "timeout", "rate_limit", "auth", "model")
"""Failures of a call that the model was asked for: whatever a cache answered before it was not all."""


@dataclass(frozen=True)
class RowLabels:
    """What the rows of one evaluation have in common."""

    model_id: str
    """The model's identifier, as reports show it."""
    task_name: str
    mode: str
    """``baseline`` for ``optimizer=none``, else the optimizer's name."""


@dataclass(frozen=True)
class Trial:
    """What happened with one example."""

    row: Row
    usage: Usage
    """What the program's LM calls used; those of a metric that asks a model are not among them."""
    extra: Mapping[str, float]
    """The task's further metrics; empty when the example failed."""
    failure: Failure | None
    calls: tuple[Call, ...] = ()
    """What was timed: the program, phase ``generate``, and its LM calls, by signature. An example from the
    response cache is in ``generate.cached``, and its completions' times when they were made are in
    ``generate.original``."""
    transient: bool = False
    """Whether it failed for a reason that is not the example's, so that it may succeed another time."""


@dataclass(frozen=True)
class _Verdict:
    score: float = 0.0
    answer: str = ""
    extra: Mapping[str, float] = field(default_factory=dict)


class _Watched(dspy.Module):  # type: ignore[misc]
    """A program for one example, whose ``history`` holds exactly the LM calls of this example.

    DSPy files a call with every module that is active around it, whichever LM a predictor brought along.
    """

    def __init__(self, program: dspy.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, **inputs: Any) -> Any:
        return self.program(**inputs)


def run_trial(
    program: dspy.Module,
    example: dspy.Example,
    task: Task,
    *,
    lm: dspy.LM,
    labels: RowLabels,
    split: str,
    epoch: int,
    several_models: bool = False,
) -> Trial:
    """Run the program on one example and score it.

    Args:
        program: What is evaluated. It may run in other threads at the same time.
        example: A record of the task.
        task: Scores the prediction and names its answer.
        lm: The model. A copy answers, which shares the engine but no mutable state.
        labels: What the row says beside the example.
        split: The split that the example is from, for the row.
        epoch: The optimizer's epoch, for the row.
        several_models: Whether a part of the program has a model of its own, whose calls are to be timed too.
    """
    sample = str(example.id)
    watched = _Watched(program)
    latencies = LatencyRecorder()
    timing: Timing | None = None
    verdict, gold, failure, transient = _Verdict(), "", None, False
    phase = SCORE
    # Its own trace keeps threads apart, and the run's memory free of every prompt.
    with dspy.context(
        trace=[],
        disable_history=False,
        **_timed_by(SignatureLatency(latencies, [task.signature]), lm, several_models),
    ):
        try:
            gold = task.gold(example)
            phase = GENERATE
            with timed() as timing:
                prediction = watched(**example.inputs())
            phase = SCORE
            verdict = _judge(task, example, prediction)
        except Exception as error:  # whatever user code raises becomes a row
            kind: Kind | None = "metric" if phase == SCORE else None
            failure = Failure.of(error, phase=phase, sample=sample, kind=kind)
            transient = is_transient(error)
    usage = Usage.of(watched.history)
    cached = usage.from_cache and not (failure and failure.kind in _OF_THE_MODEL)
    if timing:
        latencies.record(CACHED if cached else GENERATE, timing.milliseconds, timing.succeeded)
    if cached and usage.original_latency_ms:
        latencies.record(ORIGINAL, usage.original_latency_ms)
    question, context = shown(example)
    row = Row(
        model_id=labels.model_id,
        task_name=labels.task_name,
        domain=task.domain,
        mode=labels.mode,
        sample_id=sample,
        gold=gold,
        pred=verdict.answer,
        latency_ms=round(timing.milliseconds, 3) if timing else 0.0,
        question=question,
        context=context,
        correct=int(verdict.score >= 1),
        score=verdict.score,
        split=split,
        epoch=epoch,
        finish_reason=usage.finish_reason,
        error=f"{failure.kind}: {failure.message}" if failure else "",
        reflection_latency_ms=0.0,
        reflected=0,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached=int(cached),
    )
    return Trial(row, usage, verdict.extra, failure, latencies.calls, transient)


def _timed_by(callback: SignatureLatency, lm: dspy.LM, several_models: bool) -> dict[str, Any]:
    """DSPy's settings for a program whose calls are timed: of a copy of one model, or of all."""
    if several_models:
        return {"lm": lm.copy(), "callbacks": [*dspy.settings.callbacks, callback]}
    # Much cheaper: in its settings DSPy calls a callback at every module and adapter too.
    return {"lm": lm.copy(callbacks=[*lm.callbacks, callback])}


def _judge(task: Task, example: dspy.Example, prediction: dspy.Prediction) -> _Verdict:
    score = float(task.metric(example, prediction))
    if not 0 <= score <= 1:
        raise ValueError(f"the metric gave {score}; a score is a number in [0, 1]")
    further = getattr(task, "extra_metrics", None)
    extra = {name: float(value) for name, value in further(example, prediction).items()} if further else {}
    if unusable := [name for name, value in extra.items() if not math.isfinite(value)]:
        raise ValueError(f"the further metric {unusable[0]} gave {extra[unusable[0]]}")
    return _Verdict(score, task.answer(prediction), extra)


def shown(example: dspy.Example) -> tuple[str, str]:
    """The row's question and context; a record without a question shows all its inputs there."""
    if "question" in example:
        return _text(example["question"]), _text(example.get("context", ""))
    inputs = {name: value for name, value in example.inputs().items() if name != "context"}
    rendered = "\n".join(f"{name}: {_text(value)}" for name, value in inputs.items())
    return rendered, _text(example.get("context", ""))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
