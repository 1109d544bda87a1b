"""Worker processes, given chores instead of experiments: who runs what, and what a death costs."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tiltyard.launching import workers as workers_module
from tiltyard.launching.assignment import INTERRUPTED
from tiltyard.launching.workers import Workers
from tiltyard.telemetry.activity import recording_activity

GROWN = []
"""What this process goes on holding in memory."""


@dataclass(frozen=True)
class Chore:
    """What an assignment is to a worker, less the experiment."""

    number: int
    folder: Path
    deed: str = "write"
    loads: str = ""
    timeout: float | None = None

    def carry_out(self) -> str:
        with recording_activity(self.folder):
            try:
                return self._do()
            except KeyboardInterrupt:
                (self.folder / "kept").touch()
                return INTERRUPTED
            finally:
                if self.deed == "interrupted late":
                    raise KeyboardInterrupt

    def _do(self) -> str:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        (self.folder / "pid").write_text(str(os.getpid()))
        (self.folder / "environment").write_text(repr(dict(os.environ)))
        match self.deed:
            case "print":
                os.system("echo from a child")
                print("a word", flush=True)  # noqa: T201
            case "meet":  # goes on when every worker has come this far
                while len(list(self.folder.parent.glob("*/pid"))) < 2:
                    time.sleep(0.01)
                time.sleep(0.3)
            case "die":
                print("last words", flush=True)  # noqa: T201
                os.kill(os.getpid(), signal.SIGKILL)
            case "exit":
                os._exit(5)
            case "sleep":
                time.sleep(60)
            case "raise":
                raise OSError("No space left on device")
            case "grow":
                GROWN.append(bytearray(os.urandom(1 << 20)) * 400)
                time.sleep(1.1)
            case "leave a thread":
                threading.Thread(target=time.sleep, args=(120,)).start()
            case "leave a process":
                multiprocessing.get_context("spawn").Process(target=time.sleep, args=(120,)).start()
            case "unlink console":
                (self.folder / "console.log").unlink()
            case "deaf":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                time.sleep(60)
        return ""


@pytest.fixture
def work(tmp_path):
    """Gives chores to workers; returns what they ended with, in the order in which they ended."""

    def run(count, *chores):
        ended = {}
        made = [
            Chore(number, tmp_path / str(number), **{"deed": chore} if isinstance(chore, str) else chore)
            for number, chore in enumerate(chores)
        ]
        try:
            Workers(count).work(made, lambda number, reason: ended.update({number: reason}))
        except KeyboardInterrupt:
            ended["interrupted"] = True
        return ended

    return run


def pid(folder):
    return int((folder / "pid").read_text())


def test_chores_that_share_weights_share_a_process_and_others_go_beside(work, tmp_path):
    ended = work(2, *({"loads": loads, "deed": "meet"} for loads in "abbaab"))
    assert ended == dict.fromkeys(range(6), "")
    processes = [pid(tmp_path / str(number)) for number in range(6)]
    assert processes[0] == processes[3] == processes[4]
    assert processes[1] == processes[2] == processes[5]
    assert len({*processes, os.getpid()}) == 3


@pytest.mark.parametrize(
    ("deed", "reason"), [("die", "its process was killed by SIGKILL"), ("exit", "ended with exit code 5")]
)
def test_a_worker_that_dies_costs_its_own_job_and_is_replaced(work, tmp_path, deed, reason):
    ended = work(1, "write", deed, "write")
    assert ended[0] == ended[2] == ""
    assert reason in ended[1]
    assert pid(tmp_path / "0") == pid(tmp_path / "1") != pid(tmp_path / "2")


def test_what_a_job_prints_is_in_its_folder_even_if_it_dies(work, tmp_path, capfd):
    work(1, "print", "die", "write")
    assert (tmp_path / "0/console.log").read_text() == "from a child\na word\n"
    assert (tmp_path / "1/console.log").read_text() == "last words\n"
    assert not (tmp_path / "2/console.log").exists()
    assert capfd.readouterr().out == ""


def test_a_job_that_takes_too_long_is_told_to_stop_and_then_killed(work, tmp_path, monkeypatch):
    monkeypatch.setattr(workers_module, "GRACE_SECONDS", 1.0)
    ended = work(2, {"deed": "sleep", "timeout": 4.5}, {"deed": "deaf", "timeout": 4.5}, {"timeout": 60})
    assert ended == {
        0: "it took longer than timeout=4.5 seconds",
        1: "it took longer than timeout=4.5 seconds",
        2: "",
    }
    assert (tmp_path / "0/kept").exists()
    assert not (tmp_path / "1/kept").exists()


def test_a_job_whose_process_cannot_even_explain_its_failure_costs_no_other(work):
    ended = work(1, "raise", "write")
    assert "No space left on device" in ended[0]
    assert ended[1] == ""


def test_a_worker_whose_memory_grows_goes_on(work, tmp_path):
    assert work(1, "write", "grow", "write") == dict.fromkeys(range(3), "")
    assert len({pid(tmp_path / str(number)) for number in range(3)}) == 1


@pytest.mark.parametrize("left", ["thread", "process"])
def test_what_a_job_leaves_behind_does_not_keep_the_sweep_from_ending(work, monkeypatch, left):
    monkeypatch.setattr(workers_module, "LEAVING_SECONDS", 0.5)
    begun = time.monotonic()
    assert work(1, f"leave a {left}") == {0: ""}
    assert time.monotonic() - begun < 30


def test_a_signal_that_reaches_a_job_as_it_ends_does_not_end_the_sweep(work):
    assert work(1, "interrupted late", "write") == {0: INTERRUPTED, 1: ""}


def test_a_job_follows_in_another_process_than_one_that_was_told_to_stop(work, tmp_path):
    ended = work(1, "write", {"deed": "sleep", "timeout": 1.5}, "write")
    assert ended[0] == ended[2] == ""
    assert pid(tmp_path / "0") == pid(tmp_path / "1") != pid(tmp_path / "2")


def test_a_job_that_removes_its_console_file_has_ended_well(work):
    assert work(1, "unlink console", "write") == {0: "", 1: ""}


def interrupt_when(*files, times=1, number=signal.SIGINT):
    """Send this process a signal when some files are there."""

    def wait():
        deadline = time.monotonic() + 30
        while not all(file.exists() for file in files) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.2)
        for _ in range(times):
            os.kill(os.getpid(), number)
            time.sleep(0.5)

    threading.Thread(target=wait, daemon=True).start()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_running_jobs_keep_what_they_have_and_starts_no_other(work, tmp_path, number):
    interrupt_when(tmp_path / "0/pid", tmp_path / "1/pid", number=number)
    ended = work(2, "sleep", "sleep", "write")
    assert ended == {0: INTERRUPTED, 1: INTERRUPTED, "interrupted": True}
    assert (tmp_path / "0/kept").exists()
    assert not (tmp_path / "2").exists()


def test_a_second_signal_ends_them_at_once(work, tmp_path):
    interrupt_when(tmp_path / "0/pid", times=2)
    begun = time.monotonic()
    assert work(1, "deaf", "write") == {0: INTERRUPTED, "interrupted": True}
    assert time.monotonic() - begun < 20


def test_workers_leave_when_the_sweep_is_killed(tmp_path):
    script = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_workers import Chore
from tiltyard.launching.workers import Workers
Workers(2).work([Chore(n, Path({str(tmp_path)!r}) / str(n), "deaf") for n in range(2)], print)
"""
    import subprocess

    sweep = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    files = [tmp_path / "0/pid", tmp_path / "1/pid"]
    while not all(file.exists() and file.read_text() for file in files):
        assert sweep.poll() is None
        time.sleep(0.05)
    sweep.kill()
    sweep.wait()
    deadline = time.monotonic() + 10
    alive = [int(file.read_text()) for file in files]
    while alive and time.monotonic() < deadline:
        alive = [
            number
            for number in alive
            if Path(f"/proc/{number}/stat").exists()
            and Path(f"/proc/{number}/stat").read_text().split()[2] != "Z"
        ]
        time.sleep(0.05)
    assert not alive


def test_workers_share_the_cores(work, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    work(2, "write", "write")
    import loky

    threads = str(max(1, loky.cpu_count() // 2))
    environment = eval((tmp_path / "0/environment").read_text())
    assert environment["OMP_NUM_THREADS"] == threads
    assert environment["TILTYARD_MEMORY_SHARE"] == "0.5000"
