"""How long a job will take, by runs that were tracked before."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from tiltyard.config import resolve
from tiltyard.launching.dry_run import span
from tiltyard.launching.estimating import RECENT, estimate
from tiltyard.tracking.reader import TrackedRun

START = datetime(2026, 11, 20, 18, tzinfo=UTC)


def run(
    seconds,
    *,
    limit=None,
    examples=20.0,
    cached=0.0,
    resumed=0.0,
    status="FINISHED",
    task="iot_tiny",
    optimizer="none",
):
    labels = {"model": "lexical", "task": task, "optimizer": optimizer}
    return TrackedRun(
        run_id="5f0c",
        name="",
        status=status,
        started=START,
        ended=START + timedelta(seconds=seconds),
        tags={f"tiltyard.{name}": label for name, label in labels.items()},
        params={"limit": str(limit)},
        metrics={"examples": examples, "examples.cached": cached, "examples.resumed": resumed},
        _connection=SimpleNamespace(),
    )


@pytest.mark.parametrize(
    ("limit", "earlier", "seconds"),
    [
        (None, [], None),
        (None, [run(10), run(12), run(50)], 12),
        (None, [run(10, status="FAILED"), run(20, task="medqa_tiny"), run(30, optimizer="bootstrap")], None),
        (None, [run(1000)] * 20 + [run(5)] * RECENT, 5),
        (None, [run(10), run(0.1, cached=20.0)], 10),
        (None, [run(0.1, cached=20.0)], 0.1),
        (None, [run(10), run(2, resumed=15.0)], 10),
        (None, [run(2, resumed=15.0)], 2),
        (5, [run(8, limit=5, examples=5.0)], 8),
        (5, [run(20)], 5),  # it had all 20 examples
        (100, [run(20)], 20),  # there are no more than 20
        (10, [run(4, limit=5, examples=5.0)], 8),
        (None, [run(4, limit=5, examples=5.0)], None),  # who knows how many there are
        (None, [run(4, limit=50, examples=20.0)], 4),  # the limit was above what there is
    ],
)
def test_estimates_come_from_runs_that_are_alike(composed, limit, earlier, seconds):
    cfg = resolve(composed("model=lexical", "task=iot_tiny", f"limit={'null' if limit is None else limit}"))
    found = estimate(cfg, earlier)
    assert found == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.42, "0.4 s"), (59.6, "1 min 0 s"), (310, "5 min 10 s"), (12000, "3 h 20 min")]
)
def test_times_are_told_in_two_units(seconds, words):
    assert span(seconds) == words
