"""Packs the new tokens of many rows into one step through the model."""

from collections.abc import Mapping, Sequence
from itertools import chain, groupby

import torch

from tiltyard.models.batching.rows import Row
from tiltyard.models.batching.step import Group, Step


def pack(counts: Mapping[Row, int], device: torch.device) -> Step:
    """A step in which each row reads its next tokens.

    Args:
        counts: How many tokens of each row, at least 1; at least one row. Their lanes have room for them.
        device: Where the model is.
    """
    batches = list(_batches(counts))
    ids: list[int] = []
    positions: list[int] = []
    ends: list[int] = []
    groups: list[Group] = []
    for rows in batches:
        start = len(ids)
        for row in rows:
            seen, count = row.context, counts[row]
            ids.extend(row.tokens[seen : seen + count])
            positions.extend(range(seen, seen + count))
            if count == row.pending:
                ends.append(len(ids) - 1)
        groups.append(_group(rows, [counts[row] for row in rows], slice(start, len(ids)), device))
    return Step(
        input_ids=torch.tensor([ids], device=device),
        positions=torch.tensor([positions], device=device),
        groups=groups,
        # Where no row comes to its end, one place is computed and not looked at.
        ends=torch.tensor(ends or [0], device=device),
        finished=[row for rows in batches for row in rows if counts[row] == row.pending],
    )


def _batches(counts: Mapping[Row, int]) -> list[list[Row]]:
    """The rows by lane, and within a lane by their number of tokens, to the next power of two."""

    def key(row: Row) -> tuple[int, int]:
        return id(row.lane), (counts[row] - 1).bit_length()

    ordered = sorted(counts, key=lambda row: (*key(row), row.slot))
    return [list(rows) for _, rows in groupby(ordered, key=key)]


def _group(rows: Sequence[Row], counts: Sequence[int], span: slice, device: torch.device) -> Group:
    lane = rows[0].lane
    assert lane is not None
    slots = [row.slot for row in rows]
    starts = [row.stored for row in rows]
    width = max(counts)
    group = Group(
        lane=lane,
        span=span,
        starts=torch.tensor(starts, device=device),
        width=width,
        reach=max(start + count for start, count in zip(starts, counts, strict=True)),
        write_slots=torch.tensor(
            [slot for slot, count in zip(slots, counts, strict=True) for _ in range(count)], device=device
        ),
        write_positions=torch.tensor(
            list(
                chain.from_iterable(
                    range(start, start + count) for start, count in zip(starts, counts, strict=True)
                )
            ),
            device=device,
        ),
        parts=list(zip(slots, starts, counts, strict=True)),
        slots=None if slots == list(range(len(rows))) else torch.tensor(slots, device=device),
    )
    if any(count != width for count in counts):
        group.padding, group.places = _rectangle(counts, width, device)
    return group


def _rectangle(counts: Sequence[int], width: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Which token stands at each place of a rectangle of rows, and the place of each token."""
    padding: list[int] = []
    places: list[int] = []
    first = 0
    for row, count in enumerate(counts):
        padding += [first + min(place, count - 1) for place in range(width)]
        places += range(row * width, row * width + count)
        first += count
    return torch.tensor(padding, device=device), torch.tensor(places, device=device)
