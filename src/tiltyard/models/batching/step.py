"""One pass through a model as data: which tokens of which rows, and what each of them may attend to."""

from dataclasses import dataclass, field
from typing import Any

import torch

from tiltyard.models.batching.key_values import Lane


@dataclass
class Group:
    """Rows of one lane in a step, with tokens that are new to them."""

    lane: Lane
    span: slice
    """Where its tokens stand in the step, row after row."""
    starts: torch.Tensor
    """Tokens of each row's tail before this step: (rows,)."""
    width: int
    """New tokens of a row; of the row that has most, where they differ."""
    reach: int
    """Tokens of the longest tail after this step."""
    write_slots: torch.Tensor
    """The slot in the lane of each new token: (tokens,)."""
    write_positions: torch.Tensor
    """Where in the tail each new token goes: (tokens,)."""
    parts: list[tuple[int, int, int]]
    """Of each row its slot, the tokens of its tail before this step, and its new tokens."""
    slots: torch.Tensor | None = None
    """The rows' slots, where they are not all of the lane's in order."""
    padding: torch.Tensor | None = None
    """Where rows have different numbers of new tokens, the token of the span that stands at each place of a
    rectangle (rows x width), any token where there is none; else None."""
    places: torch.Tensor | None = None
    """The place in that rectangle of each token of the span."""
    masks: dict[Any, torch.Tensor | None] = field(default_factory=dict)
    """Masks computed for one layer, which the next one uses again."""

    @property
    def rows(self) -> int:
        """How many rows."""
        return self.starts.shape[0]

    @property
    def windows(self) -> set[int | None]:
        """The sliding windows that layers have asked for so far; None stands for a layer without one."""
        return {key for key in self.masks if not isinstance(key, tuple)}

    def tail_mask(self, window: int | None, dtype: torch.dtype) -> torch.Tensor | None:
        """What to add to the scores of tails: (rows, 1, width, reach), or None where all is seen."""
        if window not in self.masks:
            at = self.starts[:, None] + torch.arange(self.width, device=self.starts.device)
            keys = torch.arange(self.reach, device=self.starts.device)
            distance = at[:, :, None] - keys
            hidden = distance < 0
            if window is not None:
                hidden |= distance >= window
            self.masks[window] = _additive(hidden, dtype)
        return self.masks[window]

    def segment_mask(
        self, window: int | None, offset: int, length: int, dtype: torch.dtype
    ) -> torch.Tensor | None:
        """What to add to the scores of a segment that begins at a position: (rows, 1, width, length)."""
        if window is None:
            return None
        key = (window, offset)
        if key not in self.masks:
            at = self.lane.shared_length + self.starts[:, None]
            at = at + torch.arange(self.width, device=self.starts.device)
            keys = torch.arange(offset, offset + length, device=self.starts.device)
            self.masks[key] = _additive(at[:, :, None] - keys >= window, dtype)
        return self.masks[key]


@dataclass
class Step:
    """One pass through the model: new tokens of many rows."""

    input_ids: torch.Tensor
    """(1, tokens)."""
    positions: torch.Tensor
    """Each token's position in its row: (1, tokens)."""
    groups: list[Group]
    """They cover all tokens, in order."""
    ends: torch.Tensor
    """Where the last tokens of the finished rows stand: (rows,)."""
    finished: list[Any]
    """The rows that will have read all of their tokens, in the order of ``ends``."""


def _additive(hidden: torch.Tensor, dtype: torch.dtype) -> torch.Tensor | None:
    if not hidden.any():
        return None
    return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(hidden, -torch.inf)[
        :, None
    ]
