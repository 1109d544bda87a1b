"""Saves a compiled program as a folder of text files, and loads it back.

    >>> build_program_folder(folder / "program", program, origin)
    >>> program = load_program(folder / "program")
    >>> with dspy.context(lm=lm):
    ...     program(question="What is the limit?", context="The limit is 80 °C.").answer
    '80 °C'

The folder holds ``program.json`` (DSPy's state: instructions and demonstrations), ``metadata.json`` (what to
rebuild, see :mod:`tiltyard.artifacts.metadata`), ``README.md`` (both for people), and what makes it an MLflow
model (:mod:`tiltyard.artifacts.packaging`). Nothing in it is a pickle, and no language model's key is in it.
"""

import inspect
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dspy
from dspy.utils.saving import get_dependency_versions

from tiltyard.artifacts.metadata import (
    METADATA_FILE,
    Origin,
    ProgramMetadata,
    SavedSignature,
    describe,
    fields_of,
    find,
    mask_secrets,
    read_metadata,
    written,
)
from tiltyard.artifacts.packaging import package_as_model
from tiltyard.artifacts.readme import program_readme
from tiltyard.artifacts.wrapping import wrapped, wrappers_of
from tiltyard.errors import InputError, JobError
from tiltyard.redaction import redact

logger = logging.getLogger(__name__)

STATE_FILE = "program.json"
README_FILE = "README.md"
OWN_PROGRAMS = "tiltyard.programs."
"""Factories in these modules may build programs that are loaded from anywhere."""


class UnsavableProgramError(JobError):
    """A program that cannot be rebuilt from its factory, its signature and its state."""


def build_program_folder(folder: Path, program: dspy.Module, origin: Origin) -> Path:
    """Save a program, and make sure that what was saved loads as the same program.

    Args:
        folder: The folder; made when it does not exist, and its files are replaced.
        program: The compiled program. A language model that was set on its predictors is not saved.
        origin: Where the program came from.

    Returns:
        The folder.

    Raises:
        UnsavableProgramError: The optimizer changed more than instructions and demonstrations.
    """
    folder.mkdir(parents=True, exist_ok=True)
    metadata = describe(program, origin, wrappers_of(program))
    state = _state_of(program)
    saved = {**state, "metadata": {"dependency_versions": get_dependency_versions()}}
    (folder / STATE_FILE).write_text(_as_json(saved), encoding="utf-8")
    (folder / METADATA_FILE).write_text(metadata.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (folder / README_FILE).write_text(redact(program_readme(metadata, state, program)), encoding="utf-8")
    package_as_model(folder, origin.signature)
    try:
        _check_reload(folder, program, state)
    except UnsavableProgramError:
        shutil.rmtree(folder)
        raise
    return folder


def load_program(folder: Path, *, trusted: bool = False, exact_versions: bool = False) -> dspy.Module:
    """Rebuild a saved program.

    Args:
        folder: The program's folder.
        trusted: Whether you know who made the folder. Otherwise its metadata may name one class of DSPy
            modules and Tiltyard's own wrappers around it, and nothing else: a config node can call anything.
        exact_versions: Refuse a program that was saved under another minor version of tiltyard or DSPy,
            instead of warning.

    Returns:
        The program, without a language model of its own.

    Raises:
        InputError: The folder holds no program, its signature's fields are not those of the class any more,
            its versions are refused, or it cannot be rebuilt.
    """
    metadata = read_metadata(folder)
    if differences := metadata.other_versions():
        problem = f"{folder} was saved under other versions ({'; '.join(differences)})"
        if exact_versions:
            raise InputError(problem, "compile the program again")
        logger.warning("%s", problem)
    signature = _signature(metadata.signature, folder)
    program = _build(metadata, signature, folder, trusted=trusted)
    _refuse_other_predictors(program, metadata, folder)
    try:
        program.load_state(json.loads((folder / STATE_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, InputError) as error:
        raise InputError(
            f"{folder / STATE_FILE} cannot be loaded ({error})", "compile the program again"
        ) from error
    return program


def _state_of(program: dspy.Module) -> dict[str, Any]:
    with _without_models(program):
        state: dict[str, Any] = mask_secrets(program.dump_state())
    return state


@contextmanager
def _without_models(program: dspy.Module) -> Iterator[None]:
    """Take the language models off the predictors for a moment: DSPy's state would describe them."""
    predictors = program.predictors()
    models = [predictor.lm for predictor in predictors]
    for predictor in predictors:
        predictor.lm = None
    try:
        yield
    finally:
        for predictor, model in zip(predictors, models, strict=True):
            predictor.lm = model


def _signature(saved: SavedSignature, folder: Path) -> type[dspy.Signature]:
    signature: Any
    if saved.path is None:
        signature = dspy.Signature(written(saved.fields), saved.instructions)
    else:
        signature = find(saved.path)
    if not (inspect.isclass(signature) and issubclass(signature, dspy.Signature)):
        raise InputError(
            f"{folder}: there is no signature {saved.path} here", "install the package that defines it"
        )
    if fields_of(signature) != saved.fields:
        raise InputError(
            f"{folder}: {saved.path} has changed since the program was saved "
            f"({written(saved.fields)} then, {written(fields_of(signature))} now)",
            "compile the program again",
        )
    found: type[dspy.Signature] = signature
    return found


def _build(
    metadata: ProgramMetadata, signature: type[dspy.Signature], folder: Path, *, trusted: bool
) -> dspy.Module:
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    if not trusted:
        _refuse_strange_factory(metadata.program, folder)
    try:
        factory = instantiate({**metadata.program, "_partial_": True}, _convert_="all")
        return wrapped(factory(signature), metadata.wrappers, folder, trusted=trusted)
    except (InstantiationException, TypeError, ValueError) as error:
        raise InputError(f"{folder}: its program cannot be rebuilt ({error})", "compile it again") from error


def _refuse_strange_factory(node: Mapping[str, Any], folder: Path) -> None:
    from tiltyard.signatures import TARGET, target_of

    target = target_of(node, f"{folder / METADATA_FILE}: program")
    # A function that returns a module is not enough: dspy.load does, and can unpickle on the way.
    builds_programs = (inspect.isclass(target) and issubclass(target, dspy.Module)) or (
        target.__module__.startswith(OWN_PROGRAMS)
    )
    nested = any(TARGET in json.dumps(value) for key, value in node.items() if key != TARGET)
    if nested or not builds_programs:
        raise InputError(
            f"{folder}: its program is not made by one DSPy module's class alone",
            "load it as trusted only if you know who made it",
        )


def _refuse_other_predictors(program: dspy.Module, metadata: ProgramMetadata, folder: Path) -> None:
    found = {name: fields_of(predictor.signature) for name, predictor in program.named_predictors()}
    if found != metadata.predictors:
        raise InputError(
            f"{folder}: {metadata.program.get('_target_')} builds another program than it did "
            f"(predictors {_listed(metadata.predictors)} then, {_listed(found)} now)",
            "compile the program again",
        )


def _listed(predictors: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} ({written(fields)})" for name, fields in predictors.items()) or "none"


def _check_reload(folder: Path, program: dspy.Module, state: dict[str, Any]) -> None:
    try:
        reloaded = load_program(folder, trusted=True)
    except InputError as error:
        raise UnsavableProgramError(f"the compiled program cannot be saved ({error.what})") from error
    # DSPy leaves the predictors of a submodule that was compiled on its own out of the state.
    with _without_records(program, reloaded):
        everywhere = {id(module) for _, module in program.named_sub_modules(dspy.Predict)}
    same = (
        type(reloaded) is type(program)
        and "forward" not in vars(program)
        and everywhere == {id(predictor) for predictor in program.predictors()}
    )
    if not same or _as_json(_state_of(reloaded)) != _as_json(state):
        raise UnsavableProgramError(
            "the compiled program cannot be saved: its optimizer changed more than its state "
            "(instructions and demonstrations)"
        )


@contextmanager
def _without_records(program: dspy.Module, reloaded: dspy.Module) -> Iterator[None]:
    """Hide what an optimizer notes on its program, such as the candidates that it tried."""
    records = {
        name: value
        for name, value in vars(program).items()
        if name not in vars(reloaded) and not isinstance(value, dspy.Module)
    }
    for name in records:
        del vars(program)[name]
    try:
        yield
    finally:
        vars(program).update(records)


def _as_json(state: Mapping[str, Any]) -> str:
    return json.dumps(state, indent=2, ensure_ascii=False, default=str) + "\n"
