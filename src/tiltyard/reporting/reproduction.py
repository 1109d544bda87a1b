"""Says how far a rerun gives the answers of the run that it repeats, example by example.

>>> found = reproduction(first, rerun)
>>> found.identical, Counter(change.kind for change in found.changes)
(237, Counter({'other answer': 2, 'right to wrong': 1}))

In a comparison the first run is A, and its rerun B.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiltyard.reporting.numbers import count, counted
from tiltyard.reporting.one_run import OneRun
from tiltyard.reporting.pairing import CONTENT, shared
from tiltyard.reporting.side_by_side import KINDS, Flip, Kind, SideBySide, change_of, kind_of, side_by_side

if TYPE_CHECKING:
    import pandas as pd

ANSWERED: tuple[Kind, ...] = (*KINDS, "other answer")
"""How an example that both runs evaluated can be answered differently."""
UNANSWERED: tuple[Kind, ...] = ("other content", "not in the rerun", "only in the rerun")
"""Why an example cannot be compared."""


@dataclass(frozen=True)
class Reproduction:
    """A run and its rerun."""

    runs: SideBySide
    """Their configs, figures and the paired test."""
    identical: int
    """Examples with the same answer and the same score in both; one that failed in both counts too."""
    changes: Sequence[Flip]
    """All other examples, by kind in the order of ``ANSWERED`` and ``UNANSWERED``."""

    @property
    def comparable(self) -> int:
        """How many examples both runs evaluated: the same id with the same content."""
        return self.runs.shared

    @property
    def counted(self) -> str:
        """How many examples there are of each kind, in one line."""
        if self.runs.a.rows is None or self.runs.b.rows is None:
            return "there are no rows to compare"
        kinds = Counter(change.kind for change in self.changes)
        different = [f"{count(kinds[kind])} {kind}" for kind in ANSWERED if kinds[kind]]
        apart = "".join(f"; {count(kinds[kind])} {kind}" for kind in UNANSWERED if kinds[kind])
        answered = ", ".join([f"{count(self.identical)} answered identically", *different])
        return f"of {counted(self.comparable, 'example')} that both evaluated: {answered}{apart}"

    @property
    def remarks(self) -> list[str]:
        """What a reader must know of the answers, one sentence each, without a full stop."""
        remarks = []
        prints = {run.tags.get("tiltyard.fingerprint") for run in (self.runs.a, self.runs.b)}
        if self.of_kinds(ANSWERED) and len(prints) == 1:
            remarks.append(
                "nothing that counts differs, and answers do: the model, or what compiles the program, does "
                "not repeat itself"
            )
        if cached := self.runs.b.metrics.get("examples.cached"):
            remarks.append(f"{count(cached)} of the rerun's answers are from the response cache")
        return remarks

    def of_kinds(self, kinds: Sequence[Kind]) -> list[Flip]:
        """The examples of some kinds."""
        return [change for change in self.changes if change.kind in kinds]

    @property
    def unrepeated(self) -> list[Flip]:
        """What speaks against the rerun giving the same answers.

        Examples that only the rerun has do not, and neither do those that are missing where ``limit`` was
        changed: that is what it is for.
        """
        narrowed = any(option.name == "limit" for option in self.runs.config)
        kinds: tuple[Kind, ...] = () if narrowed else ("not in the rerun",)
        return self.of_kinds((*ANSWERED, "other content", *kinds))


def reproduction(first: OneRun, rerun: OneRun) -> Reproduction:
    """Compare a run with its rerun.

    Args:
        first: The run that was repeated; it may have no rows.
        rerun: The rerun.

    Raises:
        InputError: Both are the same run.
    """
    runs = side_by_side(first, rerun)
    if first.rows is None or rerun.rows is None:
        return Reproduction(runs, 0, [])
    both = shared(rerun.rows, first.rows)
    answered = list(_answered(both))
    changes = [*answered, *_unanswered(first.rows, rerun.rows, set(both["sample_id"]))]
    order = (*ANSWERED, *UNANSWERED)
    return Reproduction(
        runs,
        identical=len(both) - len(answered),
        changes=sorted(changes, key=lambda change: order.index(change.kind)),
    )


def _answered(both: "pd.DataFrame") -> Iterator[Flip]:
    for row in both.to_dict("records"):
        if row["score_a"] != row["score_b"]:
            yield change_of(row, kind_of(row))
        elif row["pred_a"] != row["pred_b"] or bool(row["error_a"]) != bool(row["error_b"]):
            yield change_of(row, "other answer")


def _unanswered(first: "pd.DataFrame", rerun: "pd.DataFrame", compared: set[str]) -> Iterator[Flip]:
    before, after = (
        {str(row["sample_id"]): row for row in rows.drop_duplicates("sample_id").to_dict("records")}
        for rows in (first, rerun)
    )
    for sample, row in before.items():
        if sample not in after:
            yield change_of(_beside(row, None), "not in the rerun")
        elif sample not in compared:
            yield change_of(_beside(row, after[sample]), "other content")
    for sample, row in after.items():
        if sample not in before:
            yield change_of(_beside(None, row), "only in the rerun")


def _beside(a: Mapping[Any, Any] | None, b: Mapping[Any, Any] | None) -> dict[str, Any]:
    """Two rows as one, as :func:`tiltyard.reporting.pairing.shared` has them; None has answered nothing."""
    there = a if a is not None else b
    assert there is not None
    nothing = {**{name: there[name] for name in CONTENT}, "pred": "", "error": "", "score": math.nan}
    sides = {"a": nothing if a is None else a, "b": nothing if b is None else b}
    return {
        "sample_id": there["sample_id"],
        **{f"{name}_{letter}": value for letter, row in sides.items() for name, value in row.items()},
    }
