"""How the local store of runs bears many processes that start at the same instant on a fresh folder.

    $ python benchmarks/tracking_load.py --processes 32
    32 processes, each 100 steps of a metric, 100 params and 3 artifacts, write-ahead log
    opened   9.8 s   all recorded   9.8 s   326 steps/s   slowest call 0.02 s
    nothing is missing, nothing was printed

Each process opens a run in the folder as a job does and logs its metric step by step. MLflow is imported
once, and the processes are forked from there before any store is open: what is timed is the store, not
imports. Then the store is read; the exit code is 1 where anything is missing, a process failed, or one of
them printed anything.
"""

import argparse
import contextlib
import importlib
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

from tiltyard.tracking import reader, store
from tiltyard.tracking.recorder import LocalTracking

ARTIFACTS = ("one.txt", "two.txt", "three.txt")
METRIC = "loss"


def record(folder: Path, number: int, barrier: Any, times: Any, steps: int, params: int) -> None:
    """Record one run from this process, once all others are ready to."""
    with _output_in(folder / f"{number}.out"):
        files = folder / f"files-{number}"
        files.mkdir()
        for name in ARTIFACTS:
            (files / name).write_text(f"{name} of {number}\n" * 100)
        config = {f"p{position}": position * number for position in range(params)}
        slowest = 0.0
        barrier.wait()
        with LocalTracking(folder=str(folder / "mlruns")).start(
            f"run-{number}", tags={"tiltyard.fingerprint": str(number)}, params=config
        ) as run:
            opened = time.time()
            for step in range(steps):
                before = time.perf_counter()
                run.log_metrics({METRIC: number + step / steps}, step=step)
                slowest = max(slowest, time.perf_counter() - before)
            for name in ARTIFACTS:
                run.log_file(files / name)
        times.put((opened, time.time(), slowest))


@contextlib.contextmanager
def _output_in(file: Path) -> Iterator[None]:
    """Send what this process prints into a file, C libraries included."""
    with file.open("wb") as out:
        for descriptor in (1, 2):
            os.dup2(out.fileno(), descriptor)
        yield
        sys.stdout.flush()
        sys.stderr.flush()


def missing(folder: Path, processes: int, steps: int, params: int) -> list[str]:
    """What should stand in the store and does not, in words."""
    found = {run.name: run for run in reader.runs(LocalTracking(folder=str(folder / "mlruns")))}
    lost = []
    for number in range(processes):
        run = found.get(f"run-{number}")
        if run is None:
            lost.append(f"run-{number}")
            continue
        if run.curve(METRIC) != [(step, number + step / steps) for step in range(steps)]:
            lost.append(f"steps of {run.name}")
        if run.params != {f"p{position}": str(position * number) for position in range(params)}:
            lost.append(f"params of {run.name}")
        for name in ARTIFACTS:
            if run.text(name) != f"{name} of {number}\n" * 100:
                lost.append(f"{name} of {run.name}")
    return lost


def load(folder: Path, processes: int, steps: int, params: int) -> bool:
    """Put the load on a fresh store in a folder and print the figures; says whether all is there."""
    for name in ("mlflow.tracking", "mlflow.store.tracking.sqlalchemy_store"):  # the processes inherit them
        importlib.import_module(name)

    context = multiprocessing.get_context("fork")
    barrier, times = context.Barrier(processes + 1), context.SimpleQueue()
    jobs = [
        context.Process(target=record, args=(folder, number, barrier, times, steps, params))
        for number in range(processes)
    ]
    for job in jobs:
        job.start()
    barrier.wait()
    start = time.time()
    for job in jobs:
        job.join()
    ended = []
    while not times.empty():
        ended.append(times.get())
    failed = [
        f"process {number} ended with {job.exitcode}" for number, job in enumerate(jobs) if job.exitcode
    ]
    outputs = [file.read_text(errors="replace") for file in sorted(folder.glob("*.out"))]
    opened, last, slowest = map(max, zip(*ended, strict=True)) if ended else (start, start, 0.0)
    print(
        f"opened {opened - start:5.1f} s   all recorded {last - start:5.1f} s   "
        f"{len(ended) * steps / (last - start or 1):.0f} steps/s   slowest call {slowest:.2f} s"
    )
    wrong = [*failed, *filter(None, outputs), *missing(folder, processes, steps, params)]
    print("\n".join(wrong) if wrong else "nothing is missing, nothing was printed")
    return not wrong


def main() -> None:
    """Put the load on a store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=32, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=100, help="of the metric; default: %(default)s")
    parser.add_argument("--params", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--folder", type=Path, help="an empty folder that is kept; default: a temporary one")
    parser.add_argument("--no-wal", action="store_true", help="as on a network file system")
    chosen = parser.parse_args()
    journal = "no write-ahead log" if chosen.no_wal else "write-ahead log"
    print(
        f"{chosen.processes} processes, each {chosen.steps} steps of a metric, {chosen.params} params and "
        f"{len(ARTIFACTS)} artifacts, {journal}"
    )
    with ExitStack() as stack:
        if chosen.no_wal:
            stack.enter_context(mock.patch.object(store, "on_local_disk", return_value=False))
        folder = chosen.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        complete = load(folder, chosen.processes, chosen.steps, chosen.params)
    sys.exit(not complete)


if __name__ == "__main__":
    main()
