"""What one axis changes: each arm against the reference arm, on the same examples, all else being equal.

>>> found = per_axis(evidence, axes, Reference("optimizer", "none"))
>>> found.compared[0].line, found.compared[0].difference.mean, found.compared[0].p_adjusted
(('tatqa_tiny', 'lexical', 'bootstrap'), 0.25, 0.031)
>>> found.refused[0].reason
'no run with optimizer=none has the same task, model and seed'
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tiltyard.reporting import numbers
from tiltyard.reporting.arms import Line, Reference, by_line
from tiltyard.reporting.pairing import scores_of
from tiltyard.reporting.significance import EFFECTS, TESTS

if TYPE_CHECKING:
    import pandas as pd

    from tiltyard.evaluation.paired import Difference
    from tiltyard.evaluation.power import Detectable
    from tiltyard.reporting.reading import Evidence
    from tiltyard.tracking.reader import TrackedRun

SIGNIFICANT = 0.05
"""The adjusted p value below which a difference is called one."""


@dataclass(frozen=True)
class Compared:
    """An arm against the reference arm."""

    line: Line
    difference: "Difference"
    p_adjusted: float
    """Adjusted by Holm's method for all comparisons of the report."""
    by_seed: Mapping[str, float]
    """The mean difference of each seed that both arms have; over them, an example counts with its mean."""
    remark: str
    """What a reader must know: how little the examples could show, and whether seeds disagree."""

    @property
    def verdict(self) -> str:
        """``better``, ``worse`` or ``not told apart``."""
        if self.p_adjusted >= SIGNIFICANT:
            return "not told apart"
        return "better" if self.difference.mean > 0 else "worse"

    @property
    def test(self) -> str:
        """Where the p value is from, in words."""
        return TESTS[self.difference.test]

    @property
    def effect(self) -> str:
        """The effect size with its interval, in words; a dash where there is none."""
        effect = self.difference.effect
        if effect is None:
            return numbers.MISSING
        limits = f"[{_plain(effect.low)}, {_plain(effect.high)}]"
        return f"{EFFECTS[effect.measure]} {_plain(effect.value)} {limits}"


def _plain(value: float) -> str:
    return "∞" if value == float("inf") else f"{value:.2f}"


@dataclass(frozen=True)
class Refused:
    """An arm that is not compared."""

    line: Line
    reason: str


@dataclass(frozen=True)
class PerAxis:
    """All comparisons of a report."""

    reference: Reference | None
    """None where no arm is one."""
    compared: list[Compared]
    refused: list[Refused]

    def of(self, line: Line) -> Compared | None:
        """The comparison of a line; None for the reference and for what was refused."""
        return next((compared for compared in self.compared if compared.line == line), None)


def per_axis(evidence: "Evidence", axes: Sequence[str], reference: Reference | None) -> PerAxis:
    """Compare every line with the line that has the reference's value on its axis and is the same otherwise.

    Runs of one seed are paired with runs of the same seed: a seed decides which examples are drawn and how
    options are shuffled. Over seeds, an example's score is the mean of its scores.

    Args:
        evidence: The runs with their rows.
        axes: What tells lines apart; the reference's column is among them.
        reference: The arm that others are compared with.
    """
    from tiltyard.evaluation.paired import check_paired, compare, holm
    from tiltyard.evaluation.power import detectable

    if reference is None:
        return PerAxis(None, [], [])
    lines = by_line(evidence.runs, axes)
    place = axes.index(reference.column)
    found: list[tuple[Line, Difference, dict[str, float], Detectable]] = []
    refused: list[Refused] = []
    for line, runs in lines.items():
        counterpart = (*line[:place], reference.shown, *line[place + 1 :])
        if line == counterpart:
            continue
        if counterpart not in lines:
            refused.append(Refused(line, f"no run with {reference} has the same {_rest(axes, place)}"))
            continue
        ours, theirs = _of_shared_seeds(runs, lines[counterpart])
        if not ours:
            refused.append(Refused(line, f"no run with {reference} has the same seed"))
            continue
        frames = [evidence.rows[run.run_id] for run in (*ours, *theirs)]
        after = mean_scores([evidence.rows[run.run_id] for run in ours])
        before = mean_scores([evidence.rows[run.run_id] for run in theirs])
        clusters = clusters_of(frames)
        try:
            check_paired(after, before, "this arm", str(reference))
            _refuse_other_content(ours, theirs, evidence)
            difference = compare(after, before, clusters=clusters)
        except ValueError as error:  # UnpairedError says how the examples differ
            refused.append(Refused(line, str(error)))
            continue
        could = detectable(after, before, clusters=clusters)
        found.append((line, difference, _by_seed(ours, theirs, evidence), could))
    adjusted = holm([difference.p for _, difference, _, _ in found])
    compared = [
        Compared(line, difference, p, by_seed, "; ".join(_remarks(could.remark(p), by_seed)))
        for (line, difference, by_seed, could), p in zip(found, adjusted, strict=True)
    ]
    return PerAxis(reference, compared, refused)


def _rest(axes: Sequence[str], place: int) -> str:
    names = [axis for position, axis in enumerate(axes) if position != place]
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def seed_of(run: "TrackedRun") -> str:
    """The run's seed; empty where its config has none."""
    return run.params.get("seed", "")


def _of_shared_seeds(
    ours: "Sequence[TrackedRun]", theirs: "Sequence[TrackedRun]"
) -> "tuple[list[TrackedRun], list[TrackedRun]]":
    shared = {seed_of(run) for run in ours} & {seed_of(run) for run in theirs}
    return [run for run in ours if seed_of(run) in shared], [run for run in theirs if seed_of(run) in shared]


def _refuse_other_content(
    ours: "Sequence[TrackedRun]", theirs: "Sequence[TrackedRun]", evidence: "Evidence"
) -> None:
    """Refuse arms of which one seed was asked other examples, or the same ids with another content.

    Raises:
        UnpairedError: They are such.
    """
    from tiltyard.evaluation.paired import UnpairedError

    asked, before = _asked(ours, evidence), _asked(theirs, evidence)
    if others := [key for key in asked if key not in before] or [key for key in before if key not in asked]:
        seed, sample = others[0]
        raise UnpairedError(f"the arms were asked other examples with seed {seed}, such as {sample!r}")
    if edited := [sample for (seed, sample), content in asked.items() if content != before[seed, sample]]:
        several = len(set(edited))
        raise UnpairedError(
            f"{several} of their examples differ in question, context or gold, such as {edited[0]!r}"
        )


def _asked(runs: "Sequence[TrackedRun]", evidence: "Evidence") -> dict[tuple[str, str], set[str]]:
    """What each seed was asked, by seed and sample id."""
    asked: dict[tuple[str, str], set[str]] = {}
    for run in runs:
        rows = evidence.rows[run.run_id]
        for sample, content in zip(rows["sample_id"], rows["question"], strict=True):
            asked.setdefault((seed_of(run), str(sample)), set()).add(content)
    return asked


def _by_seed(
    ours: "Sequence[TrackedRun]", theirs: "Sequence[TrackedRun]", evidence: "Evidence"
) -> dict[str, float]:
    """The mean difference of each seed."""

    def means(runs: "Sequence[TrackedRun]", seed: str) -> dict[str, float]:
        return mean_scores([evidence.rows[run.run_id] for run in runs if seed_of(run) == seed])

    found = {}
    for seed in dict.fromkeys(map(seed_of, ours)):
        after, before = means(ours, seed), means(theirs, seed)
        found[seed] = sum(after[sample] - before[sample] for sample in after) / len(after)
    return dict(sorted(found.items(), key=lambda item: seed_order(item[0])))


def _remarks(of_power: str, by_seed: Mapping[str, float]) -> Iterator[str]:
    if of_power:
        yield of_power
    if min(by_seed.values()) < 0 < max(by_seed.values()):
        yield "its seeds disagree"


def seed_order(seed: str) -> tuple[int, str]:
    """What seeds are sorted by: numbers by their value."""
    return (int(seed), seed) if seed.isdecimal() else (-1, seed)


def mean_scores(frames: "Sequence[pd.DataFrame]") -> dict[str, float]:
    """The mean score of each example over all rows that it has."""
    import pandas as pd

    rows = pd.concat([frame[["sample_id", "score"]] for frame in frames], ignore_index=True)
    return {sample: min(1.0, max(0.0, score)) for sample, score in scores_of(rows).items()}  # rounding


def clusters_of(frames: "Sequence[pd.DataFrame]") -> Mapping[str, Hashable]:
    """What examples share a context with what others."""
    import pandas as pd

    from tiltyard.evaluation.clusters import contexts

    rows = pd.concat([frame[["sample_id", "context"]] for frame in frames], ignore_index=True)
    return contexts(rows.drop_duplicates("sample_id"))
