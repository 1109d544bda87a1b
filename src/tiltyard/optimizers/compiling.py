"""Runs any DSPy teleprompter on a student program, without ever showing it the test split.

>>> compile_program(dspy.LabeledFewShot(k=4), student, train=splits.train, validation=splits.validation)
"""

import contextlib
import io
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import dspy
from dspy.teleprompt import Teleprompter

from tiltyard.errors import InputError
from tiltyard.optimizers.baseline import Unoptimized
from tiltyard.optimizers.recorded import compile_recorded, sets_for, told_by
from tiltyard.optimizers.recorder import Recorder
from tiltyard.optimizers.report import OptimizationReport

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Compiled:
    """A compiled program, what compiling it used, and how that went."""

    program: dspy.Module
    prompt_tokens: int = 0
    """Tokens read by the calls that the optimizer made in this run; those that a response cache spared do not
    count."""
    completion_tokens: int = 0
    """Tokens written by them."""
    report: OptimizationReport = field(default_factory=OptimizationReport)
    """What the optimizer tells, or what could be seen of it."""

    def metrics(self) -> dict[str, float]:
        """The use of tokens as metrics."""
        return {
            "tokens.compile.prompt": float(self.prompt_tokens),
            "tokens.compile.completion": float(self.completion_tokens),
        }

    def epochs(self, student: dspy.Module) -> tuple[int, Mapping[int, dspy.Module]]:
        """The epoch that the program is from, and the programs of the other epochs.

        It is the epoch that the optimizer names, else that of the snapshot which holds the same; a program
        that no snapshot holds counts as the epoch after the last one. Without snapshots there are no others.

        Args:
            student: The program as it came: epoch 0.
        """
        report = self.report
        if not report.snapshots:
            return report.chosen_epoch or 0, {}
        programs = {0: student, **{snapshot.epoch: snapshot.program for snapshot in report.snapshots}}
        chosen = report.chosen_epoch
        if chosen is None:
            alike = (epoch for epoch, program in programs.items() if _same(program, self.program))
            chosen = next(alike, max(programs) + 1)
        return chosen, {epoch: program for epoch, program in programs.items() if epoch != chosen}


def _same(one: dspy.Module, other: dspy.Module) -> bool:
    """Whether two programs answer alike: also where one is the other in a wrapper that adds nothing to it."""
    if type(one) is not type(other) and type(getattr(other, "program", None)) is type(one):
        one = type(other)(one)
    return one is other or (type(one) is type(other) and _state(one) == _state(other))


def _state(program: dspy.Module) -> str:
    return json.dumps(program.dump_state(), sort_keys=True, default=str)


def report_of(optimizer: Teleprompter) -> OptimizationReport:
    """What an optimizer tells of its last compilation, even of one that was broken off; else nothing."""
    return told_by(optimizer) or OptimizationReport()


def compile_program(
    optimizer: Teleprompter,
    student: dspy.Module,
    *,
    train: list[dspy.Example],
    validation: list[dspy.Example],
) -> Compiled:
    """Compile a student program with an optimizer.

    A training example on which the program fails, because a small model did not keep to the format,
    teaches nothing; it does not end the compilation.

    Args:
        optimizer: Anything with DSPy's ``compile(student, trainset=..., [valset=...])``.
        student: The program to improve; it is not changed.
        train: What the optimizer learns from.
        validation: What it chooses by. Optimizers that take no ``valset`` do not get it, and none gets an
            empty one.

    Raises:
        InputError: The optimizer is none, or it learns from examples, and the train split is empty.
    """
    if not callable(getattr(optimizer, "compile", None)):
        raise InputError(
            f"optimizer._target_ makes a {type(optimizer).__name__}, which cannot compile a program",
            "name a DSPy teleprompter",
        )
    if isinstance(optimizer, Unoptimized):
        return Compiled(optimizer.compile(student))
    if not train:
        raise InputError(
            f"{type(optimizer).__name__} learns from examples, and the task's train split is empty",
            "add records with split=train, raise task.fractions' first number, or use optimizer=none",
        )
    recorder = Recorder()
    # Rounds and candidates try an example again, so no number of examples is large enough.
    with dspy.context(max_errors=sys.maxsize), printing_to_log():
        program, report = compile_recorded(
            optimizer, student, recorder, **sets_for(optimizer, train, validation)
        )
    return Compiled(
        program,
        recorder.prompt_tokens - recorder.spared_prompt_tokens,
        recorder.completion_tokens - recorder.spared_completion_tokens,
        report,
    )


@contextlib.contextmanager
def printing_to_log() -> Iterator[None]:
    """Send what optimizers print to the log, less their progress bars."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            yield
    finally:
        for line in filter(None, map(str.strip, printed.getvalue().split("\n"))):
            if "\r" not in line:
                logger.info("%s", line)
