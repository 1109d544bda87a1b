"""Tells how any teleprompter compiled a program: what it asked for, what that took, and what it tried.

    >>> program, report = compile_recorded(optimizer, student, trainset=train, valset=validation)
    >>> report.metrics["optimizer.lm_calls"], report.metrics["optimizer.best_score"]
    (480.0, 0.72)

DSPy's own optimizers, ours and a user's are recorded alike; one that has a report of its own is completed.
"""

import inspect
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import dspy
from dspy.teleprompt import Teleprompter

from tiltyard.optimizers.recorder import Recorder, curve, summed_up
from tiltyard.optimizers.report import OptimizationReport

METRIC_ATTRIBUTES = ("metric", "metric_fn")
"""Where DSPy's optimizers keep their metric."""


class RecordedTeleprompter(Teleprompter):  # type: ignore[misc]
    """A teleprompter that leaves a report of each compilation in ``report``."""

    uses_both_sets: ClassVar[bool] = True
    """Whether it learns from one set of examples and chooses by another; see :func:`uses_both_sets`."""

    def __init__(self) -> None:
        self.report = OptimizationReport()

    def compile(
        self,
        student: dspy.Module,
        *,
        trainset: list[dspy.Example],
        valset: list[dspy.Example] | None = None,
    ) -> dspy.Module:
        """Compile a copy of the student.

        Args:
            student: The program to improve; it is not changed.
            trainset: What is learnt from.
            valset: What is chosen by; the train set where there is none.
        """
        recorder = Recorder()
        self.report = OptimizationReport()
        program = None
        try:
            with recorder.recording():
                program = self._compile(student, trainset, valset or trainset, recorder)
        finally:  # what was found until it was broken off is worth telling, too
            self._tell(recorder.report(program))
        return program

    @abstractmethod
    def _compile(
        self,
        student: dspy.Module,
        trainset: list[dspy.Example],
        valset: list[dspy.Example],
        recorder: Recorder,
    ) -> dspy.Module:
        """Do the work. What belongs into the report goes into ``self.report``."""

    def _tell(self, measured: OptimizationReport) -> None:
        """Complete the report with what was measured; candidates of its own are told instead of those."""
        report = self.report
        if not report.candidates:
            report.candidates = measured.candidates
        report.points = report.points or curve(report.candidates)
        report.metrics = {**measured.metrics, **summed_up(report.candidates), **report.metrics}


def compile_recorded(
    optimizer: Teleprompter,
    student: dspy.Module,
    recorder: Recorder | None = None,
    /,
    **sets: list[dspy.Example],
) -> tuple[dspy.Module, OptimizationReport]:
    """Compile a program with any teleprompter, and tell how it went.

    Args:
        optimizer: Anything with DSPy's ``compile``. One that has a report of its own gets it back, with what
            the compilation took.
        student: The program to improve.
        recorder: What records it, for who wants to ask it more afterwards; None makes one.
        **sets: ``trainset`` and, where the optimizer takes one, ``valset``.

    Returns:
        The compiled program and the report.
    """
    recorder = recorder or Recorder()
    with _metric_counted(optimizer, recorder), recorder.recording():
        program = optimizer.compile(student, **sets)
    report = told_by(optimizer)
    if report is None:
        return program, recorder.report(program)
    report.metrics = {**recorder.metrics(), **report.metrics}
    return program, report


def told_by(optimizer: Teleprompter) -> OptimizationReport | None:
    """What an optimizer tells of its last compilation, also of one that was broken off; None if nothing."""
    report = getattr(optimizer, "report", None)
    return report if isinstance(report, OptimizationReport) else None


def sets_for(
    optimizer: Teleprompter, trainset: list[dspy.Example], valset: list[dspy.Example] | None
) -> dict[str, list[dspy.Example]]:
    """The examples that an optimizer takes: some of DSPy's take no ``valset``."""
    if _takes_validation(optimizer) and valset:
        return {"trainset": trainset, "valset": valset}
    return {"trainset": trainset}


def uses_both_sets(optimizer: Teleprompter) -> bool:
    """Whether an optimizer learns from ``trainset`` and chooses by ``valset``; else train serves it for both.

    One that takes a ``valset`` does, unless its attribute ``uses_both_sets`` is false.
    """
    return _takes_validation(optimizer) and bool(getattr(optimizer, "uses_both_sets", True))


def _takes_validation(optimizer: Teleprompter) -> bool:
    return "valset" in inspect.signature(optimizer.compile).parameters


@contextmanager
def _metric_counted(optimizer: Teleprompter, recorder: Recorder) -> Iterator[None]:
    own = {name: vars(optimizer).get(name) for name in METRIC_ATTRIBUTES if hasattr(optimizer, "__dict__")}
    held = {name: metric for name, metric in own.items() if callable(metric)}
    for name, metric in held.items():
        setattr(optimizer, name, recorder.counted(metric))
    try:
        yield
    finally:
        for name, metric in held.items():
            setattr(optimizer, name, metric)
