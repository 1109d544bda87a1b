"""What it costs to record a run on an MLflow server, against the local SQLite store.

    $ python benchmarks/tracking_server.py http://127.0.0.1:5000 --runs 20 --writers 4

Both record the same: a run with its config, metrics, tags, files, rows and program, as a job does. The stores
take turns, after one run each that does not count, and the median of the runs is compared. Credentials of the
server come from MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD. The runs stay in the server's
experiment `tracking-benchmark`.
"""

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tiltyard.evaluation.rows import COLUMNS
from tiltyard.tracking.recorder import LocalTracking, ServerTracking, Tracking

FILES = 12
"""Files of a run, of 20 kB each, beside its rows and its program."""
CONFIG = {"model": {f"option{number}": number for number in range(80)}, "seed": 0}
METRICS = {f"metric.{number}": number / 7 for number in range(60)}


def record(tracking: Tracking, folder: Path, number: int) -> float:
    """Record one run; the seconds that it took."""
    start = time.perf_counter()
    with tracking.start(f"run {number}", tags={"tiltyard.task": "benchmark"}, params=CONFIG) as run:
        run.log_metrics(METRICS)
        run.set_tags({"tiltyard.program": "dspy.Predict"})
        run.log_folder(folder / "files")
        run.log_rows(folder / "predictions.csv")
        run.register_program(folder / "program", "benchmark.tracking.server")
    return time.perf_counter() - start


def make_files(folder: Path) -> None:
    """What a run leaves."""
    for name in ("files", "program"):
        (folder / name).mkdir()
    for number in range(FILES):
        (folder / "files" / f"{number}.txt").write_text("x" * 20_000)
    (folder / "program" / "program.json").write_text("{}")
    row = ",".join("0" if name not in ("sample_id", "question") else "text" for name in COLUMNS)
    (folder / "predictions.csv").write_text("\n".join([",".join(COLUMNS), *[row] * 100]) + "\n")


def main() -> None:
    """Print the seconds of each store, and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("address", help="the server's, such as http://127.0.0.1:5000")
    parser.add_argument("--runs", type=int, default=20, help="runs on each store (default: %(default)s)")
    parser.add_argument("--writers", type=int, default=1, help="at the same time (default: %(default)s)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_files(folder)
        stores: dict[str, Tracking] = {
            "SQLite": LocalTracking(folder=str(folder / "mlruns"), experiment="tracking-benchmark"),
            "server": ServerTracking(uri=chosen.address, experiment="tracking-benchmark"),
        }
        seconds: dict[str, list[float]] = {name: [] for name in stores}
        for tracking in stores.values():
            record(tracking, folder, 0)
        with ThreadPoolExecutor(chosen.writers) as writers:
            for first in range(0, chosen.runs, chosen.writers):
                for name, tracking in stores.items():
                    numbers = range(first, min(first + chosen.writers, chosen.runs))
                    seconds[name] += writers.map(
                        lambda number, tracking=tracking: record(tracking, folder, number), numbers
                    )
    for name, taken in seconds.items():
        print(f"{name:8} {statistics.median(taken):6.2f} s a run (median of {len(taken)})")
    ratio = statistics.median(seconds["server"]) / statistics.median(seconds["SQLite"])
    print(f"ratio    {ratio:6.1f}")


if __name__ == "__main__":
    main()
