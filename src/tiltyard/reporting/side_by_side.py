"""Puts two runs side by side: their configs, their figures with a paired test, the examples that flipped.

>>> found = side_by_side(find_run("5f0c", tracking, experiment="tiltyard"), find_run("77ab", …))
>>> found.score.mean, found.score.p, Counter(flip.kind for flip in found.flips)
(0.254, 8.7e-19, Counter({'wrong to right': 61}))

The first run is called A, the second B; every difference is B less A.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tiltyard.config import OUTSIDE_FINGERPRINT
from tiltyard.errors import InputError
from tiltyard.evaluation.paired import Difference
from tiltyard.reporting.one_run import OneRun
from tiltyard.reporting.pairing import compare_rows, power_of, shared

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal[
    "right to wrong",
    "wrong to right",
    "worse",
    "better",
    "other answer",
    "other content",
    "not in the rerun",
    "only in the rerun",
]
"""How two rows of an example differ; from *other answer* on, without a change of its score."""

KINDS: tuple[Kind, ...] = ("right to wrong", "wrong to right", "worse", "better")
"""How an example's score can change: *right* is full marks; *worse* and *better* are so without them."""
NOT_ORIGIN = (
    *("kind", "sweep", "task", "model", "optimizer", "simulation", "split", "mode", "command", "version"),
    *("machine", "pid", "process_start", "heartbeat", "rerun_of"),
)
"""``tiltyard.`` tags that say nothing of where a run came from, or what the config says too."""
OF_THE_SCORE = ("score", "score.low", "score.high")
"""Metrics that stand with the paired test."""


@dataclass(frozen=True)
class Differing:
    """A value that the two runs do not share."""

    name: str
    a: str | None
    """None where run A has no such value."""
    b: str | None
    """None where run B has no such value."""


@dataclass(frozen=True)
class Changed:
    """A metric that the two runs do not share."""

    name: str
    a: float | None
    """None where it was not measured."""
    b: float | None
    """None where it was not measured."""


@dataclass(frozen=True)
class Flip:
    """An example that the two runs did not do alike; in a comparison, one whose score differs."""

    kind: Kind
    sample_id: str
    question: str
    context: str
    gold: str
    answer_a: str
    answer_b: str
    score_a: float
    score_b: float
    error_a: str
    """Why the example failed in run A; empty when it did not."""
    error_b: str
    """Why the example failed in run B; empty when it did not."""


@dataclass(frozen=True)
class SideBySide:
    """Two runs and how they differ."""

    a: OneRun
    b: OneRun
    config: Sequence[Differing]
    """Options that can change a result."""
    config_apart: Sequence[Differing]
    """Options that cannot: names, places, caches."""
    origins: Sequence[Differing]
    """Versions, git commit, fingerprint, what the model says of itself; without the leading ``tiltyard.``."""
    metrics: Sequence[Changed]
    """All but the score."""
    equal_metrics: int
    """How many metrics are the same in both."""
    score: Difference | None
    """The paired difference; None where the data are not paired."""
    unpaired: str
    """Why there is no paired test, in one line; empty where there is one."""
    power: str
    """What a sample of this size could tell, in one line; empty where the difference is significant."""
    flips: Sequence[Flip]
    """By kind, in the order of run B's rows."""
    shared: int
    """How many examples both runs evaluated."""

    @property
    def remarks(self) -> list[str]:
        """What a reader must know of the two, one sentence each, without a full stop."""
        remarks = [
            f"run {letter} ended as {run.status}: its figures may be of a part of its examples"
            for letter, run in (("A", self.a), ("B", self.b))
            if run.status != "FINISHED"
        ]
        fingerprints = [run.tags.get("tiltyard.fingerprint", "") for run in (self.a, self.b)]
        if not all(fingerprints):
            return remarks
        if fingerprints[0] == fingerprints[1]:
            remarks.append("both have the same fingerprint: they are repetitions of one experiment")
        elif not self.config:
            remarks.append(
                "their configs are equal and their fingerprints differ: data, weights, code or package "
                "versions are not the same"
            )
        return remarks


def side_by_side(a: OneRun, b: OneRun) -> SideBySide:
    """Compare two runs.

    Raises:
        InputError: Both are the same run.
    """
    if a.run_id and a.run_id == b.run_id:
        raise InputError(f"{a.given} and {b.given} are the same run", "name two runs")
    params = _differing(a.params, b.params)
    metrics = _changed(a.metrics, b.metrics)
    score, unpaired, power = _paired(a, b)
    both = None if a.rows is None or b.rows is None else shared(b.rows, a.rows)
    return SideBySide(
        a=a,
        b=b,
        config=[d for d in params if d.name.split(".")[0] not in OUTSIDE_FINGERPRINT],
        config_apart=[d for d in params if d.name.split(".")[0] in OUTSIDE_FINGERPRINT],
        origins=[d for d in _differing(_origin(a), _origin(b)) if not _is_unknown(d)],
        metrics=[change for change in metrics if change.a != change.b],
        equal_metrics=sum(change.a == change.b for change in metrics),
        score=score,
        unpaired=unpaired,
        power=power,
        flips=[] if both is None else _flips(both),
        shared=0 if both is None else len(both),
    )


def _differing(a: Mapping[str, str], b: Mapping[str, str]) -> list[Differing]:
    return [
        Differing(name, a.get(name), b.get(name))
        for name in dict.fromkeys((*a, *b))
        if a.get(name) != b.get(name)
    ]


def _is_unknown(origin: Differing) -> bool:
    """Whether one of the runs may be from before Tiltyard recorded it."""
    recorded_later = origin.name in ("processor", "host") or origin.name.startswith("data.")
    return recorded_later and None in (origin.a, origin.b)


def _origin(run: OneRun) -> dict[str, str]:
    tags = {name.removeprefix("tiltyard."): value for name, value in sorted(run.tags.items())}
    if "version" in tags:  # of a run that saved no program, its metadata do not tell
        tags.setdefault("package.tiltyard", tags["version"])
    return {name: value for name, value in tags.items() if name not in NOT_ORIGIN and value}


def _changed(a: Mapping[str, float], b: Mapping[str, float]) -> list[Changed]:
    names = sorted({*a, *b} - {*OF_THE_SCORE}, key=_place)
    return [Changed(name, a.get(name), b.get(name)) for name in names]


_ORDER = (
    "accuracy",
    "",
    "examples",
    "health",
    "latency",
    "examples_per_second",
    "tokens",
    "tokens_per_second",
    "cost",
)
"""Groups of metrics in the order of a table; ``""`` stands for a task's own."""


def _place(name: str) -> tuple[int, str]:
    from tiltyard.reporting.further import further

    group = "" if further({name: 0.0}) else name.split(".")[0]
    return (_ORDER.index(group) if group in _ORDER else len(_ORDER), name)


def _paired(a: OneRun, b: OneRun) -> tuple[Difference | None, str, str]:
    """The paired difference, else why there is none; and what the sample could tell."""
    for letter, run in (("A", a), ("B", b)):
        if run.rows is None or run.rows.empty:
            return None, f"run {letter} has no rows: {run.without_rows or 'none were evaluated'}", ""
    assert a.rows is not None
    assert b.rows is not None
    try:
        difference = compare_rows(b.rows, a.rows)
    except ValueError as error:  # unpaired, or scores that are none
        return None, str(error), ""
    return difference, "", power_of(b.rows, a.rows).remark(difference.p)


def _flips(both: "pd.DataFrame") -> list[Flip]:
    changed = both[both["score_a"] != both["score_b"]]
    flips = [change_of(row, kind_of(row)) for row in changed.to_dict("records")]
    return sorted(flips, key=lambda flip: KINDS.index(flip.kind))


def kind_of(row: Mapping[Any, Any]) -> Kind:
    """How the score of an example changed, by a row of :func:`tiltyard.reporting.pairing.shared`."""
    if bool(row["correct_a"]) != bool(row["correct_b"]):
        return "right to wrong" if row["correct_a"] else "wrong to right"
    return "better" if row["score_b"] > row["score_a"] else "worse"


def change_of(row: Mapping[Any, Any], kind: Kind) -> Flip:
    """The example of a row of :func:`tiltyard.reporting.pairing.shared`."""
    return Flip(
        kind=kind,
        sample_id=str(row["sample_id"]),
        question=row["question_b"],
        context=row["context_b"],
        gold=row["gold_b"],
        answer_a=row["pred_a"],
        answer_b=row["pred_b"],
        score_a=float(row["score_a"]),
        score_b=float(row["score_b"]),
        error_a=row["error_a"],
        error_b=row["error_b"],
    )
