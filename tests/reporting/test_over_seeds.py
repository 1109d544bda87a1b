from collections.abc import Callable

import pytest

from tiltyard.reporting.over_seeds import over_seeds
from tiltyard.reporting.reading import Evidence
from tiltyard.tracking.reader import TrackedRun

Track = Callable[..., TrackedRun]
EvidenceOf = Callable[..., Evidence]
AXES = ("task", "model", "mode")


def test_seeds_are_put_together(track: Track, evidence_of: EvidenceOf) -> None:
    by_seed = {10: {"a": 1.0, "b": 1.0}, 2: {"a": 1.0, "b": 0.0}}
    runs = [track(scores, seed=seed) for seed, scores in by_seed.items()]
    [one] = over_seeds(evidence_of(*runs, track({"a": 1.0}, mode="ace")), AXES)
    assert one.scores == {"2": 0.5, "10": 1.0}
    assert list(one.scores) == ["2", "10"]
    assert one.deviation == pytest.approx(0.5 / 2**0.5)
    assert one.spread is not None
    assert one.spread.mean == 0.75
    assert one.spread.sd == pytest.approx(one.deviation)


def test_seeds_of_different_examples_keep_their_scores(track: Track, evidence_of: EvidenceOf) -> None:
    [one] = over_seeds(evidence_of(track({"a": 1.0}, seed=0), track({"b": 0.0}, seed=1)), AXES)
    assert one.spread is None
    assert one.scores == {"0": 1.0, "1": 0.0}
    assert "different examples" in one.reason
