"""What an optimizer tells of a compilation, beyond the program that came of it.

    >>> optimizer.compile(student, trainset=train, valset=validation)
    >>> optimizer.report.metrics["optimizer.metric_calls"]
    480.0

An optimizer that has a ``report`` of this kind gets it recorded: metrics and curves in MLflow, files in the
run's folder, notes in the run's report. One that has none is recorded by what can be seen from outside.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import dspy


@dataclass(frozen=True)
class Point:
    """Some measures at one step of a compilation."""

    step: int
    """What it counts is the optimizer's to say: epochs, metric calls, candidates."""
    values: Mapping[str, float]
    """Measures by name, such as ``optimizer.validation.score``."""


@dataclass(frozen=True)
class Candidate:
    """A program that was tried."""

    name: str
    """What tells it from the others, such as ``candidate 3`` or ``epoch 2``."""
    score: float | None
    """Its mean score on what the optimizer chooses by, in [0, 1]; None where it was not measured."""
    examples: int | None = None
    """On how many examples; None where that is not known."""
    metric_calls: int | None = None
    """Metric calls made until then."""
    detail: str = ""
    """What is particular about it, in a line."""
    chosen: bool = False
    """Whether it is what the compilation returned."""


@dataclass(frozen=True)
class Snapshot:
    """The program as it was after an epoch."""

    epoch: int
    """From 1; epoch 0 is the student as it came."""
    program: dspy.Module


@dataclass(frozen=True)
class Attempt:
    """One answer to a training example, given while the program was being adapted."""

    epoch: int
    """From 1."""
    step: int
    """From 0, over all epochs."""
    example: dspy.Example
    prediction: dspy.Prediction | None
    """None where the program failed."""
    score: float | None
    """None where no label was looked at."""
    latency_ms: float
    reflected: bool = False
    """Whether a lesson was asked for."""
    reflection_latency_ms: float | None = None
    """Wall time of asking for the lesson, retries included."""
    error: str = ""
    """Why the program failed, in one line."""
    prompt_tokens: int = 0
    """Tokens read for the answer, where that is counted."""
    completion_tokens: int = 0
    """Tokens written for the answer, where that is counted."""


@dataclass
class OptimizationReport:
    """How a compilation went."""

    metrics: dict[str, float] = field(default_factory=dict)
    """Figures of the whole compilation, by names that begin with ``optimizer.``; another name gets that
    beginning when it is recorded, so that no figure of the run's own is replaced."""
    points: list[Point] = field(default_factory=list)
    """Curves, in the order of their steps; for their names the same holds. Where a figure of the whole has
    the name of a curve, the curve is recorded as ``optimizer.curve.…``."""
    candidates: list[Candidate] = field(default_factory=list)
    """The programs that were tried, in order."""
    files: dict[str, str] = field(default_factory=dict)
    """Texts to keep beside the run's other files, by plain file name, such as ``playbook.jsonl``. Those that
    end in ``.md`` are shown in the run's report, in short."""
    notes: list[str] = field(default_factory=list)
    """What a reader of the run's report should know, a sentence each."""
    warnings: list[str] = field(default_factory=list)
    """Why the result may not be what it seems, a sentence each: shown in the terminal, too."""
    snapshots: list[Snapshot] = field(default_factory=list)
    """The program after each epoch, where the optimizer has epochs."""
    chosen_epoch: int | None = None
    """The epoch that the returned program is from, 0 for the student as it came; None where it is not known,
    or there are no epochs."""
    attempts: list[Attempt] = field(default_factory=list)
    """Answers to training examples, where the optimizer looks at them one by one."""


@runtime_checkable
class Reporting(Protocol):
    """An optimizer that tells how its last compilation went."""

    report: OptimizationReport
