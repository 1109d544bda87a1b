"""How far the score of an arm moves from seed to seed.

>>> over_seeds(evidence, axes)[0]
OverSeeds(line=('conventions', 'lexical', 'bootstrap'), scores={'0': 0.21, '1': 0.27}, spread=AcrossSeeds(…))
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from tiltyard.reporting.arms import Line, by_line
from tiltyard.reporting.per_axis import clusters_of, mean_scores, seed_of, seed_order

if TYPE_CHECKING:
    import pandas as pd

    from tiltyard.evaluation.seeds import AcrossSeeds
    from tiltyard.reporting.reading import Evidence


@dataclass(frozen=True)
class OverSeeds:
    """The scores of a line by seed."""

    line: Line
    scores: Mapping[str, float]
    """The mean score of each seed's runs, in the order of the seeds."""
    spread: "AcrossSeeds | None"
    """What :func:`tiltyard.evaluation.seeds.across_seeds` makes of them, with an interval; None where the
    seeds cannot be put together."""
    reason: str = ""
    """Why they cannot."""

    @property
    def mean(self) -> float:
        """The mean of the seeds' scores."""
        return fmean(self.scores.values())

    @property
    def deviation(self) -> float:
        """The standard deviation of the seeds' scores."""
        return stdev(self.scores.values())


def over_seeds(evidence: "Evidence", axes: Sequence[str]) -> list[OverSeeds]:
    """The lines that were run with several seeds.

    Args:
        evidence: The runs with their rows.
        axes: What tells lines apart.
    """
    from tiltyard.evaluation.paired import UnpairedError
    from tiltyard.evaluation.seeds import across_seeds

    found = []
    for line, runs in by_line(evidence.runs, axes).items():
        frames: defaultdict[str, list[pd.DataFrame]] = defaultdict(list)
        for run in runs:
            frames[seed_of(run)].append(evidence.rows[run.run_id])
        if len(frames) < 2:
            continue
        scores = {seed: mean_scores(frames[seed]) for seed in sorted(frames, key=seed_order)}
        clusters = clusters_of([frame for group in frames.values() for frame in group])
        try:
            spread = across_seeds(scores, clusters=clusters)
            found.append(OverSeeds(line, spread.by_seed, spread))
        except UnpairedError:
            means = {seed: fmean(of_seed.values()) for seed, of_seed in scores.items()}
            found.append(OverSeeds(line, means, None, "its seeds drew different examples"))
    return found
