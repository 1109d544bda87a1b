"""What an adaptation has done, step by step, as plain values that a checkpoint keeps.

Whatever is reported or continued is read from these records alone, so that an adaptation that was killed and
resumed tells the same as one that was not.

>>> line = dumped(step)
>>> loaded(line) == step
True
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from tiltyard.optimizers.adapting.spending import Spent


@dataclass(frozen=True)
class Tried:
    """One answer to a training example."""

    example: int
    """Its place in the train set."""
    outputs: dict[str, Any] | None
    """What was predicted, as plain values; None where the program failed."""
    score: float | None
    latency_ms: float
    reflected: bool
    """Whether a lesson was asked for."""
    reflection_latency_ms: float | None
    error: str
    prompt_tokens: int
    """Tokens that the first answer's calls read."""
    completion_tokens: int
    """Tokens that they wrote."""
    lost: bool = False
    """Whether it was no answer to learn from: the model gave none, or the metric failed."""


@dataclass(frozen=True)
class Lesson:
    """What was learnt from one example, and is to be curated."""

    source: str
    """The example's id."""
    rules: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One window: its answers, their lessons, and what became of the playbook."""

    step: int
    """From 0, over all epochs."""
    epoch: int
    """From 1."""
    tried: tuple[Tried, ...]
    lessons: tuple[Lesson, ...]
    curated: bool
    """Whether the lessons, with those that waited, were curated in this step."""
    events: str
    """What happened to the playbook: lines of its history."""
    counts: dict[str, int]
    """How often what was done, such as ``operations.add.applied`` and ``reflections.failed``."""
    spent: dict[str, Spent]
    """By role."""
    kind: Literal["step"] = "step"


@dataclass(frozen=True)
class Measured:
    """A program's mean score on the validation examples."""

    epoch: int
    """0 for the programs before the first step."""
    steps: int
    """How many steps its playbook has seen."""
    program: Literal["student", "playbook"]
    """Whether it was measured without a playbook or with one."""
    entries: int
    tokens: int
    """The playbook's size, by the estimate that budgets use."""
    score: float | None
    """None where nothing was measured."""
    examples: int
    judged: int
    """How many of their answers the metric was called for: not those that the program failed on."""
    repeated: bool
    """Whether the score is that of an equal program, measured before."""
    ends_epoch: bool
    shown: str
    """A digest of the entries, which are what decides a deterministic model's answers."""
    spent: Spent = field(default=Spent())
    kind: Literal["measured"] = "measured"


Record = Step | Measured

_RECORD: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])


def dumped(record: Record) -> str:
    """A record as one line of JSON."""
    # A model can write half a surrogate pair: json.dumps escapes it, where pydantic would refuse.
    return json.dumps(asdict(record))


def loaded(line: str) -> Record:
    """What :func:`dumped` wrote.

    Raises:
        ValueError: The line is no record; it may be cut off.
    """
    return _RECORD.validate_python(json.loads(line))
