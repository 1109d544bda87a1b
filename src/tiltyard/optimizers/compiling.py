"""Runs any DSPy teleprompter on a student program, without ever showing it the test split.

>>> compile_program(dspy.LabeledFewShot(k=4), student, train=splits.train, validation=splits.validation)
"""

import contextlib
import inspect
import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import dspy
from dspy.teleprompt import Teleprompter
from dspy.utils.usage_tracker import track_usage

from tiltyard.errors import InputError
from tiltyard.optimizers.baseline import Unoptimized

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Compiled:
    """A compiled program, and what compiling it used."""

    program: dspy.Module
    prompt_tokens: int = 0
    """Tokens read by the calls that the optimizer made."""
    completion_tokens: int = 0
    """Tokens written by them."""

    def metrics(self) -> dict[str, float]:
        """The use of tokens as metrics."""
        return {
            "tokens.compile.prompt": float(self.prompt_tokens),
            "tokens.compile.completion": float(self.completion_tokens),
        }


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
        validation: What it chooses by; optimizers that take no ``valset`` do not get it.

    Raises:
        InputError: The optimizer is none, or it learns from examples, and the train split is empty.
    """
    if not callable(getattr(optimizer, "compile", None)):
        raise InputError(
            f"optimizer._target_ makes a {type(optimizer).__name__}, which cannot compile a program",
            "name a DSPy teleprompter",
        )
    if not train and not isinstance(optimizer, Unoptimized):
        raise InputError(
            f"{type(optimizer).__name__} learns from examples, and the task's train split is empty",
            "add records with split=train, raise task.fractions' first number, or use optimizer=none",
        )
    sets = {"trainset": train}
    if "valset" in inspect.signature(optimizer.compile).parameters:
        sets["valset"] = validation
    with (
        dspy.context(max_errors=len(train) + len(validation) + 1),
        track_usage() as usage,
        printing_to_log(),
    ):
        program = optimizer.compile(student, **sets)
    totals = usage.get_total_tokens().values()
    return Compiled(
        program,
        prompt_tokens=sum(model.get("prompt_tokens") or 0 for model in totals),
        completion_tokens=sum(model.get("completion_tokens") or 0 for model in totals),
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
