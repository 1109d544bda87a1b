import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tiltyard.telemetry import processes
from tiltyard.telemetry.processes import BEGAN, HOST, MACHINE, PID, Sight, seen, this_process


@pytest.fixture
def sleeper():
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def without_proc(monkeypatch):
    """A system without Linux's ``/proc``."""
    monkeypatch.setattr(processes, "sys", SimpleNamespace(platform="darwin"))
    processes._machine.cache_clear()
    yield
    processes._machine.cache_clear()


def tags_of(process):
    return this_process().tags() | {PID: str(process.pid), BEGAN: processes._start_of(process.pid)}


def test_this_process_is_alive():
    assert seen(this_process().tags()) is Sight.ALIVE


def test_a_killed_process_is_gone_before_and_after_its_parent_collects_it(sleeper):
    tags = tags_of(sleeper)
    assert seen(tags) is Sight.ALIVE
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert seen(tags) is Sight.GONE
    sleeper.wait()
    assert seen(tags) is Sight.GONE


def test_a_process_that_was_given_the_number_of_another_is_not_the_other(sleeper):
    assert seen(tags_of(sleeper) | {BEGAN: "1"}) is Sight.GONE


@pytest.mark.parametrize(
    "changed",
    [
        {HOST: "elsewhere"},
        {MACHINE: "another-boot/pid:[4026531836]"},
        {MACHINE: ""},
        {BEGAN: ""},
        {PID: "many"},
    ],
)
def test_a_process_of_another_machine_is_not_judged(sleeper, changed):
    assert seen(tags_of(sleeper) | changed) is Sight.UNKNOWN


def test_a_run_without_its_process_is_not_judged():
    assert seen({}) is Sight.UNKNOWN


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_may_be_called_anything(tmp_path):
    program = tmp_path / "a) Z 1 (b"
    shutil.copy(shutil.which("sleep"), program)
    process = subprocess.Popen([program, "60"])
    try:
        assert seen(tags_of(process)) is Sight.ALIVE
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_that_the_system_hides_is_not_judged(sleeper, tmp_path, monkeypatch):
    tags = tags_of(sleeper)
    monkeypatch.setattr(processes, "PROC", tmp_path)
    assert seen(tags) is Sight.UNKNOWN
    sleeper.kill()
    sleeper.wait()
    assert seen(tags) is Sight.GONE


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_is_not_judged_when_no_file_can_be_opened(sleeper, monkeypatch):
    tags = tags_of(sleeper)

    def fail(*args, **kwargs):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("pathlib.Path.read_text", fail)
    assert seen(tags) is Sight.UNKNOWN


def test_processes_are_seen_without_proc(sleeper, without_proc):
    tags = tags_of(sleeper)
    assert seen(tags) is Sight.ALIVE
    assert seen(tags | {BEGAN: "1.000"}) is Sight.GONE
    sleeper.kill()
    sleeper.wait()
    assert seen(tags) is Sight.GONE


def test_a_fork_has_an_identity_of_its_own():
    code = (
        "import os, sys\n"
        "from tiltyard.telemetry.processes import this_process\n"
        "mine = this_process()\n"
        "if os.fork() == 0:\n"
        "    os._exit(this_process() == mine)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
