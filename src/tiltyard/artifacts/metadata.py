"""What a saved program says about itself: where it came from, and what it must be rebuilt as.

>>> read_metadata(Path("outputs/mine/program")).score.value
0.8
"""

import importlib
import platform
import types
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import dspy
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tiltyard.config import EvaluatedSplit
from tiltyard.errors import InputError
from tiltyard.redaction import is_secret_name, redact

FORMAT = 1
"""The version of the program folder's layout."""
METADATA_FILE = "metadata.json"
VERSIONED = ("tiltyard", "dspy")
"""Packages whose minor version a program depends on."""


class SignatureField(BaseModel):
    """One field of a signature."""

    model_config = ConfigDict(frozen=True)

    name: str
    kind: Literal["input", "output"]
    type: str
    """The annotation, written the same under every Python version."""

    def __str__(self) -> str:
        return f"{self.name}: {self.type}"


class SavedSignature(BaseModel):
    """The signature that a program was built from."""

    model_config = ConfigDict(frozen=True)

    path: str | None
    """``module:QualName`` of the class; None for one that was made at run time."""
    instructions: str
    fields: tuple[SignatureField, ...]


class SavedScore(BaseModel):
    """The program's score on the evaluated split, with its 95% interval."""

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float
    split: EvaluatedSplit = "test"
    """The split that it is of; validation where options were chosen by it."""


class ProgramMetadata(BaseModel):
    """The content of ``metadata.json``."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1]
    created: datetime
    """UTC."""
    versions: dict[str, str]
    """Of tiltyard, dspy and python when the program was saved."""
    task: str
    model: str
    optimizer: str
    seed: int
    fingerprint: str
    """The run's; equal for repetitions of one experiment."""
    score: SavedScore
    program: dict[str, Any]
    """The config node of the program's factory."""
    signature: SavedSignature
    predictors: dict[str, tuple[SignatureField, ...]]
    """The fields of each predictor in the program, by the predictor's name."""
    wrappers: tuple[str, ...] = ()
    """``module:QualName`` of the classes that the factory's program stands in, the outermost first: each is
    built from the program inside it, and the state holds the rest, such as a playbook."""
    language_model: dict[str, Any] = Field(default_factory=dict)
    """The config node of the model that the program was compiled for, without secrets."""
    hardware: dict[str, Any] = Field(default_factory=dict)
    """The config node of its hardware."""

    def other_versions(self) -> list[str]:
        """The packages whose minor version here is another than when the program was saved."""
        found = {name: version(name) for name in VERSIONED}
        return [
            f"{name} {self.versions.get(name, 'unknown')} then, {found[name]} now"
            for name in VERSIONED
            if _minor(self.versions.get(name, "")) != _minor(found[name])
        ]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a program came from; what a run knows when it saves one."""

    task: str
    """The task's label."""
    model: str
    """The model's label."""
    optimizer: str
    """The optimizer's label."""
    seed: int
    fingerprint: str
    score: tuple[float, float, float]
    """Score, lower and upper end of its 95% interval."""
    split: EvaluatedSplit = "test"
    """The split that the score is of."""
    signature: type[dspy.Signature]
    """What the program was built from."""
    program_node: Mapping[str, Any]
    """The config node of the program's factory, such as ``{"_target_": "dspy.Predict"}``."""
    model_node: Mapping[str, Any]
    """The resolved config node of the model."""
    hardware_node: Mapping[str, Any]
    """The resolved config node of the hardware."""


def describe(program: dspy.Module, origin: Origin, wrappers: tuple[str, ...] = ()) -> ProgramMetadata:
    """What to save about a program.

    Args:
        program: The program.
        origin: Where it came from.
        wrappers: The import paths of the classes that it stands in, the outermost first.
    """
    signature = origin.signature
    value, low, high = origin.score
    return ProgramMetadata(
        format=1,
        created=datetime.now(UTC).replace(microsecond=0),
        versions={name: version(name) for name in VERSIONED} | {"python": platform.python_version()},
        task=origin.task,
        model=origin.model,
        optimizer=origin.optimizer,
        seed=origin.seed,
        fingerprint=origin.fingerprint,
        score=SavedScore(value=value, low=low, high=high, split=origin.split),
        program=without_secrets(origin.program_node),
        signature=SavedSignature(
            path=import_path(signature),
            instructions=redact(signature.instructions),
            fields=fields_of(signature),
        ),
        predictors={name: fields_of(predictor.signature) for name, predictor in program.named_predictors()},
        wrappers=wrappers,
        language_model=without_secrets(origin.model_node),
        hardware=without_secrets(origin.hardware_node),
    )


def read_metadata(folder: Path) -> ProgramMetadata:
    """Read a program's metadata.

    Raises:
        InputError: There is none, it is damaged, or its format is another one.
    """
    path = folder / METADATA_FILE
    try:
        return ProgramMetadata.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{folder} is no saved program: {METADATA_FILE} cannot be read ({error.strerror})",
            "name the program/ folder of a run",
        ) from error
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise InputError(
            f"{path}: {where}: {problem['msg']}", "compile the program again with this version of tiltyard"
        ) from error


def fields_of(signature: type[dspy.Signature]) -> tuple[SignatureField, ...]:
    """The fields of a signature, in order."""
    return tuple(
        SignatureField(
            name=name, kind=field.json_schema_extra["__dspy_field_type"], type=type_name(field.annotation)
        )
        for name, field in signature.fields.items()
    )


def written(fields: tuple[SignatureField, ...]) -> str:
    """Fields as DSPy writes a signature: ``question: str -> answer: str``."""
    sides = (", ".join(str(field) for field in fields if field.kind == kind) for kind in ("input", "output"))
    return " -> ".join(sides)


def type_name(annotation: Any) -> str:
    """An annotation as text, the same under every Python version."""
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if origin is Literal:
        return f"Literal[{', '.join(repr(argument) for argument in arguments)}]"
    if origin in (Union, types.UnionType):
        return " | ".join(type_name(argument) for argument in arguments)
    if origin is not None:
        return f"{type_name(origin)}[{', '.join(type_name(argument) for argument in arguments)}]"
    if annotation is type(None):
        return "None"
    if isinstance(annotation, type):
        known = annotation.__module__ in ("builtins", "typing")
        return annotation.__qualname__ if known else f"{annotation.__module__}.{annotation.__qualname__}"
    return str(annotation).removeprefix("typing.")


def import_path(defined: type) -> str | None:
    """Where a class, such as a signature, is found again; None when it was made at run time."""
    path = f"{defined.__module__}:{defined.__qualname__}"
    return path if find(path) is defined else None


def find(path: str) -> Any:
    """Import what ``module:QualName`` names; None when there is no such thing."""
    module, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except ImportError:
        return None
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def without_secrets(node: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a config node without the keys that are named like secrets, and with secrets masked."""
    masked: dict[str, Any] = mask_secrets(_without_secret_names(node))
    return masked


def _without_secret_names(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: _without_secret_names(item) for key, item in value.items() if not is_secret_name(str(key))
        }
    if isinstance(value, list | tuple):
        return [_without_secret_names(item) for item in value]
    return value


def mask_secrets(value: Any) -> Any:
    """A copy of plain values with what looks like a secret masked in every text."""
    if isinstance(value, Mapping):
        return {str(key): mask_secrets(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask_secrets(item) for item in value]
    return redact(value) if isinstance(value, str) else value


def _minor(text: str) -> tuple[str, ...]:
    return tuple(text.split(".")[:2])
