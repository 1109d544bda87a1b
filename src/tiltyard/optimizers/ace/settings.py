"""The settings of an adaptation, checked together.

>>> Settings(credit="shown", selection="all")
Traceback (most recent call last):
...
tiltyard.errors.InputError: optimizer.credit=shown with selection=all would credit every entry alike; ...
"""

from dataclasses import dataclass
from typing import Literal

import dspy

from tiltyard.errors import InputError
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.playbook.program import PlaybookProgram
from tiltyard.optimizers.playbook.selection import Selection
from tiltyard.optimizers.playbook.similarity import HASHED

Mode = Literal["offline", "online", "evaluate"]
ReflectOn = Literal["failures", "all"]
Credit = Literal["cited", "shown", "none"]


@dataclass(frozen=True)
class Settings:
    """How a playbook is grown. :class:`~tiltyard.optimizers.ace.teleprompter.ACE` says what each means."""

    mode: Mode = "offline"
    labels: bool = True
    epochs: int = 1
    rounds: int = 1
    window: int = 1
    curate_every: int = 1
    reflect_on: ReflectOn = "failures"
    success: float = 1.0
    train_examples: int | None = None
    validation_examples: int | None = None
    validate_every: int | None = None
    selection: Selection = "all"
    k: int | None = None
    shown_tokens: int | None = None
    similarity: str = HASHED
    credit: Credit = "cited"
    ask_for_citations: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in (
            "epochs",
            "rounds",
            "window",
            "curate_every",
            "train_examples",
            "validation_examples",
            "validate_every",
            "k",
            "shown_tokens",
        ):
            if (value := getattr(self, name)) is not None and value < 1:
                raise InputError(f"optimizer.{name}={value} is too small", "give at least 1")
        if self.credit == "shown" and self.selection == "all":
            raise InputError(
                "optimizer.credit=shown with selection=all would credit every entry alike",
                "choose optimizer.selection=relevant, or credit=cited",
            )
        if self.selection == "relevant" and self.k is None and self.shown_tokens is None:
            raise InputError(
                "optimizer.selection=relevant has no limit", "give optimizer.k or optimizer.shown_tokens"
            )
        if self.selection == "all" and (self.k is not None or self.shown_tokens is not None):
            raise InputError(
                "optimizer.k and optimizer.shown_tokens limit what is shown, and selection=all shows it all",
                "choose optimizer.selection=relevant, or set both to null",
            )
        if self.mode == "online" and self.epochs > 1:
            raise InputError(
                "optimizer.mode=online goes through its examples once, as they come",
                "set optimizer.epochs=1, or choose mode=offline",
            )

    @property
    def measures(self) -> bool:
        """Whether programs are measured on validation at all."""
        return self.labels and (self.mode != "online" or self.validate_every is not None)

    def program(self, student: dspy.Module, playbook: Playbook) -> PlaybookProgram:
        """The student with a playbook, and the choice of entries that these settings name."""
        return PlaybookProgram(
            student,
            playbook,
            selection=self.selection,
            k=self.k,
            shown_tokens=self.shown_tokens,
            similarity=self.similarity,
            ask_for_citations=self.ask_for_citations,
        )
