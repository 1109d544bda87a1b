"""Tells which classes a program stands in, and puts a rebuilt program into them again.

>>> wrappers_of(PlaybookProgram(dspy.Predict(AnswerQuestion)))
('tiltyard.optimizers.playbook.program:PlaybookProgram',)

A wrapper is a DSPy module that is built from the program inside it alone and has it as ``program``. Its state
in DSPy's JSON holds the rest, such as a playbook.
"""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dspy

from tiltyard.artifacts.metadata import find, import_path
from tiltyard.errors import InputError

_OWN = "tiltyard."
"""Wrappers in these modules are put around programs that are loaded from anywhere."""


def wrappers_of(program: dspy.Module) -> tuple[str, ...]:
    """The import paths of the wrappers that a program stands in, the outermost first."""
    wrappers = []
    while _is_wrapper(type(program)) and isinstance(inner := getattr(program, "program", None), dspy.Module):
        wrappers.append(str(import_path(type(program))))
        program = inner
    return tuple(wrappers)


def wrapped(program: dspy.Module, wrappers: Sequence[str], folder: Path, *, trusted: bool) -> dspy.Module:
    """A program in the wrappers that :func:`wrappers_of` named.

    Args:
        program: What its factory built.
        wrappers: Import paths, the outermost first.
        folder: The program's folder, for messages.
        trusted: Whether wrappers from elsewhere than Tiltyard are imported too.

    Raises:
        InputError: There is no such wrapper here, or it may not be used.
    """
    for path in reversed(wrappers):
        if not (trusted or path.startswith(_OWN)):
            raise InputError(
                f"{folder}: its program stands in {path}, which is none of tiltyard's own classes",
                "load it as trusted only if you know who made it",
            )
        wrapper = find(path)
        # Tiltyard's modules also hold names of what they import.
        if not _is_wrapper(wrapper) or not (trusted or wrapper.__module__.startswith(_OWN)):
            raise InputError(
                f"{folder}: there is no wrapper {path} here", "install the package that defines it"
            )
        program = wrapper(program)
    return program


def _is_wrapper(found: Any) -> bool:
    """Whether it is a class of modules that is built from a program alone, and is found again by its path."""
    if not (inspect.isclass(found) and issubclass(found, dspy.Module) and import_path(found)):
        return False
    # Of __init__: the metaclass of DSPy's modules hides what their classes take.
    _, *parameters = inspect.signature(found.__init__).parameters.values()
    required = [one.name for one in parameters if one.default is one.empty and one.kind not in _VARIADIC]
    return required == ["program"] == [one.name for one in parameters[:1]]


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
