"""How far a sweep is, from folders that hold what jobs and sweeps leave there."""

import json
import os
import time
from dataclasses import asdict, replace

import pytest

from tiltyard.cli import main
from tiltyard.config import resolve
from tiltyard.errors import InputError
from tiltyard.files import write_text
from tiltyard.launching.identity import SweepIdentity
from tiltyard.launching.status import State, read_sweep
from tiltyard.launching.watching import drawn, headline
from tiltyard.result import ExperimentResult
from tiltyard.telemetry import activity
from tiltyard.telemetry.activity import FILE, recording_activity
from tiltyard.telemetry.processes import this_process


def write_activity(folder, started=1.0, **changed):
    process = asdict(replace(this_process(), **changed))
    write_text(folder / FILE, json.dumps({"process": process, "started": started}))


@pytest.fixture
def sweep(in_folder, composed):
    """The folder of a sweep with six jobs: done, failed, kept, running, died, waiting."""
    folder = in_folder / "outputs/sweeps/night"
    jobs = [
        {
            "job": number,
            "name": f"iot_tiny/lexical/none/s{number}",
            "overrides": ["task=iot_tiny", f"seed={number}"],
            "folder": str(number),
            "estimated_seconds": 20.0,
        }
        for number in range(6)
    ]
    write_text(folder / "plan.json", json.dumps({"sweep": "night", "jobs": jobs}))
    SweepIdentity("night", None).save(folder)
    write_activity(folder, started=time.time() - 60)
    cfg = resolve(composed("model=lexical", "task=iot_tiny"))
    blank = [ExperimentResult.failed(cfg, folder / str(number), "") for number in range(3)]
    replace(blank[0], metrics={"score": 0.75}, seconds=10.0).save()
    replace(blank[1], error="no space left", seconds=3.0).save()
    replace(blank[2], metrics={"score": 0.5}, kept_from="ab12").save()
    with recording_activity(folder / "3"):
        activity.phase("evaluate", total=8)
        activity.advance(1.0, failed=False)
        activity.SECONDS_BETWEEN_WRITES, before = 0.0, activity.SECONDS_BETWEEN_WRITES
        activity.advance(0.0, failed=True)
        activity.SECONDS_BETWEEN_WRITES = before
    write_activity(folder / "4", began="1")  # a process of long ago
    return folder


def test_each_job_has_a_state(sweep):
    status = read_sweep(sweep)
    assert [job.state for job in status.jobs] == [
        State.DONE,
        State.FAILED,
        State.KEPT,
        State.RUNNING,
        State.GONE,
        State.WAITING,
    ]
    assert [job.score for job in status.jobs[:4]] == [0.75, None, 0.5, 0.5]
    assert status.jobs[1].error == "no space left"
    assert status.is_running
    assert status.varied(status.jobs[3]) == "seed=3"


def test_the_headline_counts_and_tells_the_time_left(sweep):
    status = read_sweep(sweep)
    assert status.per_minute() == pytest.approx(120 / (time.time() - status.started), rel=0.1)
    counts = headline(status)
    assert counts.startswith("3/6 jobs, 1 kept, 1 failed, 1 gone, 1 running, ")
    assert counts.endswith(" s left")
    # One waits and one is to run again, as long as the one that is done; the running one has hardly begun.
    assert 10.0 <= status.seconds_left() < 25.0


def test_what_has_ended_is_not_read_again(sweep):
    known = {job.number: job for job in read_sweep(sweep).jobs}
    (sweep / "0/result.json").unlink()
    (sweep / "3/activity.json").unlink()
    states = [job.state for job in read_sweep(sweep, known).jobs]
    assert states[0] is State.DONE
    assert states[3] is State.WAITING


def test_a_job_that_fails_after_it_has_written_a_result_is_seen_to_fail(sweep):
    known = {job.number: job for job in read_sweep(sweep).jobs}
    found = ExperimentResult.load(sweep / "0")
    replace(found, error="every example failed").save()
    failed = read_sweep(sweep, known).jobs[0]
    assert failed.state is State.FAILED
    assert failed.error == "every example failed"


def test_a_display_shows_what_runs(sweep, capsys):
    from rich.console import Console

    console = Console(width=100)
    console.print(drawn(read_sweep(sweep), 100))
    shown = capsys.readouterr().out
    assert "sweep night" in shown
    assert "3  seed=3  evaluate 2/8, 1 failed, score 0.500" in " ".join(shown.split(" "))


def test_a_narrow_display_has_the_counts_below_the_name(sweep, capsys):
    from rich.console import Console

    for width, lines in ((160, 1), (90, 2)):
        Console(width=width).print(drawn(read_sweep(sweep), width))
        shown = capsys.readouterr().out.splitlines()
        assert shown[0].startswith("sweep night")
        assert "3/6 jobs" in shown[lines - 1]
        assert shown[lines].split()[0] == "3"


def test_status_shows_the_latest_sweep_and_any_by_name(sweep, capsys):
    for arguments in (["status"], ["status", "night"], ["status", str(sweep)]):
        assert main(arguments) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("sweep night: 3/6 jobs")
        assert lines[1] == f"running: process {os.getpid()} on {this_process().host}"
        assert [line.split()[:3] for line in lines[4:10]] == [
            ["0", "seed=0", "done"],
            ["1", "seed=1", "failed"],
            ["2", "seed=2", "kept"],
            ["3", "seed=3", "running"],
            ["4", "seed=4", "gone"],
            ["5", "seed=5", "waiting"],
        ]
        assert "evaluate 2/8, 1 failed, score 0.500" in lines[7]
        assert "no space left" in lines[5]


def test_a_search_is_found_too(sweep, capsys):
    searches = sweep.parents[1] / "searches"
    searches.mkdir()
    sweep.rename(searches / "budget")
    for arguments in (["status"], ["status", "budget"]):
        assert main(arguments) == 0
        assert capsys.readouterr().out.startswith("sweep budget: 3/6 jobs")


def test_a_sweep_whose_process_is_gone_says_what_to_do(sweep, capsys):
    write_activity(sweep, began="1")
    assert main(["status"]) == 0
    assert (
        "its process is gone; the same command runs the 3 left and the 1 that failed or"
        in capsys.readouterr().out
    )


def test_a_sweep_whose_process_is_gone_has_no_pace(sweep):
    write_activity(sweep, began="1")
    assert headline(read_sweep(sweep)) == "3/6 jobs, 1 kept, 1 failed, 1 gone, 1 running"


def test_watching_a_sweep_of_another_machine_ends_with_its_jobs(sweep, capsys):
    plan = json.loads((sweep / "plan.json").read_text())
    write_text(sweep / "plan.json", json.dumps(plan | {"jobs": plan["jobs"][:3]}))
    write_activity(sweep, host="elsewhere")
    assert main(["status", "--watch"]) == 0
    assert "sweep night: 3/3 jobs" in capsys.readouterr().out


def test_wrong_sweeps_are_wrong_input(in_folder, capsys):
    assert main(["status"]) == 2
    assert main(["status", "morning"]) == 2
    assert main(["status", "--wach"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert errors[0].startswith(
        "error: there is no sweep below outputs/sweeps or outputs/searches; start one"
    )
    assert errors[1].startswith("error: there is no sweep 'morning'")
    assert len(errors) == 3
    with pytest.raises(InputError, match="not a sweep's folder"):
        read_sweep(in_folder)
