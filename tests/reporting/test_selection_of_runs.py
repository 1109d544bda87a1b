from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from tiltyard.arguments import CommandParser
from tiltyard.errors import InputError
from tiltyard.reporting.selection import Selected, add_arguments, described, select
from tiltyard.tracking.reader import TrackedRun

MakeRun = Callable[..., TrackedRun]


def of(run: TrackedRun, sweep: str, status: str = "FINISHED") -> TrackedRun:
    return replace(run, status=status, tags={**run.tags, "tiltyard.sweep": sweep})


def chosen(monkeypatch: pytest.MonkeyPatch, tracked: Sequence[TrackedRun], *options: str) -> Selected:
    def runs(tracking: object, *, statuses: Sequence[str], **_: object) -> list[TrackedRun]:
        return [run for run in tracked if run.status in statuses]

    monkeypatch.setattr("tiltyard.tracking.reader.runs", runs)
    parser = CommandParser()
    add_arguments(parser)
    return select(parser.parse_args(list(options)))


def test_the_latest_sweep_is_never_an_older_one(monkeypatch: pytest.MonkeyPatch, make_run: MakeRun) -> None:
    tracked = [of(make_run("a"), "first"), of(make_run("b", minute=1), "second", "FAILED")]
    with pytest.raises(InputError, match="no finished run of sweep 'second'"):
        chosen(monkeypatch, tracked, "--sweep", "latest")


def test_runs_that_did_not_end_are_told_apart(monkeypatch: pytest.MonkeyPatch, make_run: MakeRun) -> None:
    tracked = [
        make_run("finished"),
        replace(make_run("running"), status="RUNNING"),
        replace(make_run("killed"), status="KILLED"),
        replace(make_run("repeated", fingerprint="finished"), status="RUNNING"),
    ]
    found = chosen(monkeypatch, tracked)
    assert [run.run_id for run in found.finished] == ["finished"]
    assert [run.run_id for run in found.failed] == ["killed"]
    assert [run.run_id for run in found.unended] == ["running"]


def test_where_runs_are_from_names_no_password(make_run: MakeRun) -> None:
    parser = CommandParser()
    add_arguments(parser)
    options = parser.parse_args(["--tracking", "https://me:hunter22@host"])
    assert described(options, [make_run("a")]) == "experiment tiltyard of https://***@host"
