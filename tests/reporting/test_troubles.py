from collections.abc import Callable
from dataclasses import replace

from tiltyard.reporting.reading import Evidence
from tiltyard.reporting.troubles import FailedRun, failed_examples, failed_runs
from tiltyard.tracking.reader import TrackedRun

Track = Callable[..., TrackedRun]


def test_failed_examples_are_counted_by_line_and_kind(
    track: Track, evidence_of: Callable[..., Evidence]
) -> None:
    evidence = evidence_of(
        track({"a": 0.0, "b": 0.0}, error="parse: no answer"),
        track({"a": 0.0}, seed=1, error="timeout: 30 s"),
        track({"a": 1.0}, mode="ace"),
    )
    found = failed_examples(evidence, ("task", "model", "mode"))
    assert [(one.line[2], one.kind, one.examples, one.of, one.first) for one in found] == [
        ("baseline", "parse", 2, 3, "no answer"),
        ("baseline", "timeout", 1, 3, "30 s"),
    ]
    assert all(one.hint for one in found)


def test_a_failed_run_says_why(track: Track) -> None:
    run = replace(track({}, tags={"tiltyard.error": "no weights"}), status="FAILED")
    assert failed_runs([run]) == [FailedRun(run.name, run.run_id, "FAILED", "no weights")]
