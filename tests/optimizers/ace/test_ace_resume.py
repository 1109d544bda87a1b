"""An adaptation that was killed goes on behind its last step, and ends as if nothing had been."""

import os
import subprocess
import sys
from dataclasses import replace

import compile_and_die
import pytest
from compile_and_die import DEATHS, compiled

from tiltyard.optimizers.ace.journal import FILE

CASES = [(mode, death) for mode, deaths in DEATHS.items() for death in deaths]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folders that the killed processes left, by mode and call, with the lines of their journals."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    parent = tmp_path_factory.mktemp("killed")
    subprocess.run([sys.executable, compile_and_die.__file__, str(parent)], check=True, timeout=120)
    folders = {(mode, death): parent / f"{mode}-{death}" for mode, death in CASES}
    return {case: (folder, (folder / FILE).read_text().splitlines()) for case, folder in folders.items()}


@pytest.fixture(scope="module")
def undisturbed():
    return {mode: compiled(mode, None) for mode in DEATHS}


def timeless(report):
    """A report without what a clock says."""

    def without_seconds(values):
        return {name: value for name, value in values.items() if ".seconds." not in name}

    return {
        "metrics": without_seconds(report.metrics),
        "points": [(point.step, without_seconds(point.values)) for point in report.points],
        "candidates": report.candidates,
        "files": report.files,
        "notes": report.notes,
        "chosen_epoch": report.chosen_epoch,
        "snapshots": [(one.epoch, one.program.dump_state()) for one in report.snapshots],
        "attempts": [
            {
                **vars(replace(one, latency_ms=0.0, reflection_latency_ms=None)),
                "prediction": one.prediction and one.prediction.toDict(),
            }
            for one in report.attempts
        ],
    }


@pytest.mark.integration
@pytest.mark.parametrize(("mode", "death"), CASES)
def test_a_killed_adaptation_ends_as_an_undisturbed_one(mode, death, killed, undisturbed):
    folder, left = killed[mode, death]
    program, report = compiled(mode, folder)
    expected_program, expected_report = undisturbed[mode]
    assert timeless(report) == timeless(expected_report)
    assert program.dump_state() == expected_program.dump_state()
    now = (folder / FILE).read_text().splitlines()
    assert now[: len(left)] == left
    assert len(now) > len(left)


@pytest.mark.integration
def test_the_processes_died_at_different_places(killed):
    assert len({len(lines) for _, lines in killed.values()}) >= 4
    assert len(killed["offline", 1][1]) == 1


def test_what_is_done_is_not_done_again(tmp_path):
    first, report = compiled("offline", tmp_path)
    size = (tmp_path / FILE).stat().st_size
    # A death at the first call of a model: none is made.
    again, told = compiled("offline", tmp_path, death=1)
    assert timeless(told) == timeless(report)
    assert again.playbook == first.playbook
    assert (tmp_path / FILE).stat().st_size == size


def test_other_settings_start_anew(tmp_path, caplog):
    compiled("offline", tmp_path)
    _, report = compiled("online", tmp_path)
    assert "starting anew" in caplog.text
    assert timeless(report) == timeless(compiled("online", None)[1])
