"""Runs any DSPy teleprompter on a student program, without ever showing it the test split.

>>> compile_program(dspy.LabeledFewShot(k=4), student, train=splits.train, validation=splits.validation)
"""

import contextlib
import inspect
import io
import logging
from collections.abc import Iterator

import dspy
from dspy.teleprompt import Teleprompter

from tiltyard.errors import InputError
from tiltyard.optimizers.baseline import Unoptimized

logger = logging.getLogger(__name__)


def compile_program(
    optimizer: Teleprompter,
    student: dspy.Module,
    *,
    train: list[dspy.Example],
    validation: list[dspy.Example],
) -> dspy.Module:
    """Compile a student program with an optimizer.

    A training example on which the program fails, because a small model did not keep to the format,
    teaches nothing; it does not end the compilation.

    Args:
        optimizer: Anything with DSPy's ``compile(student, trainset=..., [valset=...])``.
        student: The program to improve; it is not changed.
        train: What the optimizer learns from.
        validation: What it chooses by; optimizers that take no ``valset`` do not get it.

    Raises:
        InputError: The optimizer learns from examples, and the train split is empty.
    """
    if not train and not isinstance(optimizer, Unoptimized):
        raise InputError(
            f"{type(optimizer).__name__} learns from examples, and the task's train split is empty",
            "add records with split=train, raise task.fractions' first number, or use optimizer=none",
        )
    sets = {"trainset": train}
    if "valset" in inspect.signature(optimizer.compile).parameters:
        sets["valset"] = validation
    with dspy.context(max_errors=len(train) + len(validation) + 1), _printing_to_log():
        return optimizer.compile(student, **sets)


@contextlib.contextmanager
def _printing_to_log() -> Iterator[None]:
    """Send what optimizers print to the log."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            yield
    finally:
        for line in filter(None, map(str.strip, printed.getvalue().splitlines())):
            logger.info("%s", line)
