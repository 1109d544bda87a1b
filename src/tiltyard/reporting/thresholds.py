"""Reads a thresholds file: what CI demands of the runs, checked key by key before anything is looked up.

    bounds:
      - where: {task: iot_tiny, optimizer: bootstrap}
        low_at_least: 0.5          # the lower end of the score's 95% interval
    regressions:
      - where: {task: iot_tiny, optimizer: bootstrap}
        baseline: baselines/iot_tiny.csv

>>> read_thresholds(Path("thresholds.yaml")).bounds[0].low_at_least
0.5
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tiltyard.errors import InputError

Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(min_length=1)]
Value = str | int | float | bool | None
Where = dict[Name, Value | Annotated[list[Value], Field(min_length=1)]]
"""What a run must have: its axes (``task``, ``model``, …), ``sweep``, ``run`` or params, each with a value or
several of which one will do."""

_Path = tuple[str | int, ...]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Bound(_Strict):
    """A metric of each run that fits must keep a bound."""

    name: str = ""
    """What the table calls it; empty for the metric's name."""
    where: Where = Field(default_factory=dict)
    """Which runs; empty for all."""
    metric: Name = "score"
    """A metric's name, as in MLflow."""
    at_least: Finite | None = None
    """Fails when the metric is below."""
    at_most: Finite | None = None
    """Fails when the metric is above."""
    low_at_least: Share | None = None
    """Fails when the lower end of the metric's 95% interval is below: a part of the interval is under it."""
    high_at_least: Share | None = None
    """Fails when the upper end of the metric's 95% interval is below: all of the interval is under it."""

    @model_validator(mode="after")
    def _demands_something(self) -> "Bound":
        if all(b is None for b in (self.at_least, self.at_most, self.low_at_least, self.high_at_least)):
            raise ValueError("has no bound: give at_least, at_most, low_at_least or high_at_least")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError("at_least is above at_most: nothing can hold")
        return self


class Regression(_Strict):
    """The score of each run that fits must not be significantly below a reference's, paired by example."""

    name: str = ""
    """What the table calls it; empty for ``score`` and what it is compared with."""
    where: Where = Field(default_factory=dict)
    """Which runs; empty for all."""
    reference: Annotated[Where, Field(min_length=1)] | None = None
    """What the run to compare with has; in all else it is like the run itself."""
    baseline: Name | None = None
    """A ``predictions.csv`` to compare with, relative to the thresholds file."""
    alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    """Fails when the score fell and the adjusted p value is below this."""
    drop_at_most: Share | None = None
    """Fails as well when the score fell by more, significant or not: for samples too small for a test."""

    @model_validator(mode="after")
    def _has_one_reference(self) -> "Regression":
        if (self.reference is None) == (self.baseline is None):
            raise ValueError("give either reference or baseline")
        return self


class _Content(_Strict):
    bounds: list[Bound] = Field(default_factory=list)
    regressions: list[Regression] = Field(default_factory=list)

    @model_validator(mode="after")
    def _checks_something(self) -> "_Content":
        if not self.bounds and not self.regressions:
            raise ValueError("checks nothing: give bounds or regressions")
        return self


@dataclass(frozen=True)
class Thresholds:
    """A thresholds file that was read."""

    path: Path
    bounds: Sequence[Bound]
    regressions: Sequence[Regression]
    _lines: Mapping[_Path, int]

    def line(self, check: Bound | Regression) -> int:
        """The line of the file where a check begins."""
        kind: Sequence[Bound | Regression]
        key, kind = ("bounds", self.bounds) if isinstance(check, Bound) else ("regressions", self.regressions)
        position = next(number for number, other in enumerate(kind) if other is check)
        return self._lines.get((key, position), self._lines[(key,)])  # no line of its own: in an alias

    def beside(self, file: str) -> Path:
        """A path that the file names."""
        return self.path.parent / file


def read_thresholds(path: Path) -> Thresholds:
    """Read and check a thresholds file.

    Raises:
        InputError: It cannot be read, is no YAML, or the first thing that is wrong in it.
    """
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = {} if root is None else dict(_lines(root, path))
        plain = yaml.safe_load(text)
    except OSError as error:
        raise InputError(
            f"cannot read {path} ({error.strerror or error})", "--check takes a thresholds file"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text", "save it as UTF-8") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: such as a date of month 13
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else f"{path}"
        raise InputError(f"{where}: no YAML ({_problem(error)})", "correct the file") from error
    if not isinstance(plain, dict):
        raise InputError(f"{path}: holds no bounds and no regressions", "docs/ci.md shows a thresholds file")
    try:
        content = _Content.model_validate(plain)
    except ValidationError as error:
        _refuse(path, error, lines)
    return Thresholds(path, content.bounds, content.regressions, lines)


def _problem(error: Exception) -> str:
    return str(getattr(error, "problem", None) or str(error).splitlines()[0])


def _lines(node: yaml.Node, file: Path) -> Iterator[tuple[_Path, int]]:
    """The line, counted from 1, of every value by its path; of a mapping's value, that of its key."""
    yield (), node.start_mark.line + 1
    seen = set()

    def walk(node: yaml.Node, path: _Path) -> Iterator[tuple[_Path, int]]:
        if id(node) in seen:  # an alias, which may even stand inside what it stands for
            return
        seen.add(id(node))
        keys = set()
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                name, line = str(key.value), key.start_mark.line + 1
                if name in keys:
                    raise InputError(f"{file}:{line}: {_dotted((*path, name))} stands twice", "remove one")
                keys.add(name)
                yield (*path, name), line
                yield from walk(value, (*path, name))
        elif isinstance(node, yaml.SequenceNode):
            for number, value in enumerate(node.value):
                yield (*path, number), value.start_mark.line + 1
                yield from walk(value, (*path, number))

    yield from walk(node, ())


def _refuse(path: Path, error: ValidationError, lines: Mapping[_Path, int]) -> NoReturn:
    problem = error.errors()[0]
    place = tuple(problem["loc"])
    while place not in lines:  # a key that is missing, or a part of a union's name
        place = place[:-1]
    where = f"{path}:{lines[place]}: {_dotted(place)}".removesuffix(": ")
    if problem["type"] == "extra_forbidden":
        raise InputError(f"{where}: unknown key", _known(place)) from error
    message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "should be", 1)
    given = problem["input"]
    shown = "" if isinstance(given, dict | list) else f" {'null' if given is None else repr(given)}"
    raise InputError(
        f"{where}:{shown} {message}", "correct it; docs/ci.md shows a thresholds file"
    ) from error


def _dotted(path: _Path) -> str:
    """``bounds[0].where``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _known(place: _Path) -> str:
    kinds: dict[Any, type[BaseModel]] = {"bounds": Bound, "regressions": Regression}
    model = kinds.get(place[0], _Content) if len(place) > 1 else _Content
    offered = list(model.model_fields)
    close = difflib.get_close_matches(str(place[-1]), offered, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}keys there: {', '.join(offered)}"
