"""What a sweep costs per job, beside a bare Hydra multirun of jobs that do nothing, in one run.

    $ python benchmarks/sweep_overhead.py --jobs 40 --workers 1,2

Both are started as processes with few jobs and with many: the difference, per job, is free of what a start
costs. A job of Tiltyard evaluates one example with the lexical reader and is tracked; that it does something
is part of its figure. They take turns, so that a busy machine slows both.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BARE = """
import hydra

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    pass

main()
"""
FEW = 4
"""Jobs of the small sweeps."""


def main() -> None:
    """Measure, and print seconds per job and ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=40)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--workers", default="1,2", help="numbers of worker processes, with commas")
    chosen = parser.parse_args()
    arms = {"bare Hydra, no-op jobs": ("bare",)} | {
        f"tiltyard, hardware.workers={count}": ("tiltyard", f"hardware.workers={count}")
        for count in chosen.workers.split(",")
    }
    arms["tiltyard, hydra/launcher=basic"] = ("tiltyard", "hydra/launcher=basic")
    taken: dict[str, list[float]] = {name: [] for name in arms}
    starts: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(chosen.turns):
        for name, arm in arms.items():
            few, many = _seconds(arm, FEW), _seconds(arm, FEW + chosen.jobs)
            taken[name].append((many - few) / chosen.jobs)
            starts[name].append(few - FEW * taken[name][-1])
    bare = statistics.median(taken["bare Hydra, no-op jobs"])
    print(f"{'':34}  per job   ratio   start")
    for name, seconds in taken.items():
        each, start = statistics.median(seconds), statistics.median(starts[name])
        print(f"{name:34} {1000 * each:6.0f} ms {each / bare:6.1f} {start:6.1f} s")


def _seconds(arm: tuple[str, ...], jobs: int) -> float:
    """How long a sweep of some jobs takes, from start to end of its process."""
    with tempfile.TemporaryDirectory(prefix="overhead-") as place:
        folder = Path(place)
        if arm[0] == "bare":
            (folder / "conf").mkdir()
            (folder / "conf/config.yaml").write_text("seed: 0\n")
            (folder / "app.py").write_text(BARE)
            command = ["app.py", "-m"]
        else:
            command = ["-m", "tiltyard", "-m", "model=lexical", "task=iot_tiny", "limit=1", *arm[1:]]
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, *command, f"seed=range({jobs})"],
            cwd=folder,
            env=os.environ | {"TILTYARD_CACHE_DIR": str(folder / "cache")},
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
