"""Kills a sweep's workers and its own process at random, and compares with a sweep left in peace.

    python benchmarks/sweep_torture.py --jobs 60 --workers 4 --kills 20 --restarts 3

Prints what was killed, how the runs ended, and whether every combination has one finished run with the
predictions of an undisturbed sweep. The exit code is 1 where one has not.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil

from tiltyard.evaluation.rows import read_rows
from tiltyard.tracking.reader import TrackedRun, earlier_runs
from tiltyard.tracking.recorder import LocalTracking

MODEL = '''
import time

import dspy
from tiltyard.models.lexical import lexical


def model(*, seconds: float) -> dspy.LM:
    """The lexical reader, which takes its time: there is something to interrupt."""
    lm = lexical()
    complete = lm.engine.complete

    def slowly(*arguments, **options):
        time.sleep(seconds)
        return complete(*arguments, **options)

    lm.engine.complete = slowly
    return lm
'''
MEASURED = ("latency_ms", "reflection_latency_ms")
"""What of a row is measured, and differs between two runs of anything."""


def main() -> int:
    """Run both sweeps and compare them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=60)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kills", type=int, default=20, help="workers killed")
    parser.add_argument("--restarts", type=int, default=3, help="how often the sweep's own process is killed")
    parser.add_argument("--seconds", type=float, default=0.25, help="what each answer takes")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="torture-") as place:
        calm, harsh = Path(place, "undisturbed"), Path(place, "tortured")
        begun = time.monotonic()
        _undisturbed(_prepared(calm), chosen)
        seconds = time.monotonic() - begun
        print(f"undisturbed: {chosen.jobs} jobs over {chosen.workers} workers in {seconds:.0f} s")
        begun = time.monotonic()
        _tortured(_prepared(harsh), chosen, pause=0.8 * seconds / (chosen.kills + chosen.restarts))
        print(f"tortured: {time.monotonic() - begun:.0f} s")
        return _compare(calm, harsh, chosen.jobs)


def _prepared(folder: Path) -> Path:
    folder.mkdir()
    (folder / "slow_reader.py").write_text(MODEL, encoding="utf-8")
    return folder


def _start(folder: Path, chosen: argparse.Namespace) -> "subprocess.Popen[bytes]":
    command = [
        *(sys.executable, "-m", "tiltyard", "-m", "model=lexical", "model._target_=slow_reader.model"),
        *("~model.neighbours", "~model.trust", f"+model.seconds={chosen.seconds}"),
        *("task=iot_tiny,tatqa_tiny,medqa_tiny", "optimizer=none,bootstrap"),
        *(f"seed=range({chosen.jobs // 6})", f"hardware.workers={chosen.workers}", "evaluation.threads=1"),
    ]
    environment = os.environ | {
        "TILTYARD_CACHE_DIR": str(folder / "cache"),
        "PYTHONPATH": _python_path(folder),
    }
    with (folder / "console.log").open("ab") as console:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=console, stderr=console)


def _python_path(folder: Path) -> str:
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def _undisturbed(folder: Path, chosen: argparse.Namespace) -> None:
    if _start(folder, chosen).wait():
        sys.exit(f"the undisturbed sweep failed:\n{(folder / 'console.log').read_text()}")


def _tortured(folder: Path, chosen: argparse.Namespace, pause: float) -> None:
    draw = random.Random(chosen.seed)
    victims = ["worker"] * chosen.kills + ["sweep"] * chosen.restarts
    draw.shuffle(victims)
    sweep, starts, killed = _start(folder, chosen), 1, Counter[str]()
    while True:
        code = sweep.poll()
        if code == 0 and not victims:
            break
        if code is not None:
            sweep, starts = _start(folder, chosen), starts + 1
        time.sleep(draw.expovariate(1 / pause))
        if victims and _kill(victims[-1], sweep, draw):
            killed[victims.pop()] += 1
    print(f"killed: {killed['worker']} workers, the sweep {killed['sweep']} times; {starts} starts")


def _kill(victim: str, sweep: "subprocess.Popen[bytes]", draw: random.Random) -> bool:
    """Kill one process with SIGKILL; False where there is none to kill at this moment."""
    if sweep.poll() is not None:
        return False
    if victim == "sweep":
        if not list(_workers(sweep.pid)):
            return False
        sweep.kill()
        sweep.wait()
        return True
    workers = list(_workers(sweep.pid))
    if workers:
        draw.choice(workers).send_signal(signal.SIGKILL)
    return bool(workers)


def _workers(sweep: int) -> Iterator[psutil.Process]:
    try:
        for process in psutil.Process(sweep).children():
            if "loky.backend.popen_loky_posix" in process.cmdline():
                yield process
    except psutil.NoSuchProcess:
        return


def _compare(calm: Path, harsh: Path, jobs: int) -> int:
    expected, found = _finished(calm), _finished(harsh)
    statuses = Counter(run.status for run in _runs(harsh))
    print("runs:", ", ".join(f"{count} {status}" for status, count in sorted(statuses.items())))
    once = sum(1 for runs in found.values() if len(runs) == 1)
    equal = sum(
        1 for name, runs in expected.items() if name in found and _rows(runs[0]) == _rows(found[name][0])
    )
    print(f"combinations finished exactly once: {once} of {jobs}")
    print(f"with the predictions of the undisturbed sweep: {equal} of {jobs}")
    return int(not (once == equal == len(expected) == len(found) == jobs and not statuses["RUNNING"]))


def _runs(folder: Path) -> list[TrackedRun]:
    return list(earlier_runs(LocalTracking(folder=str(folder / "mlruns"))))


def _finished(folder: Path) -> dict[str, list[TrackedRun]]:
    found: dict[str, list[TrackedRun]] = {}
    for run in _runs(folder):
        if run.status == "FINISHED":
            found.setdefault(run.fingerprint, []).append(run)
    return found


def _rows(run: TrackedRun) -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory() as place:
        run.copy("predictions.csv", into=Path(place))
        rows = read_rows(Path(place, "predictions.csv")).drop(columns=list(MEASURED))
    return [dict(row) for row in rows.to_dict("records")]


if __name__ == "__main__":
    sys.exit(main())
