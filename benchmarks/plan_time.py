"""How long a sweep's jobs take to compose and check, against Hydra's own multirun, on one machine in one run.

    $ python benchmarks/plan_time.py --jobs 400

Hydra's basic sweeper composes every job to validate it, and its launcher composes it again to run it; that is
what is timed, without the jobs. Tiltyard's figure has both as well: composing, checking against signatures
and the fingerprint for the plan, and handing each config to the launcher. They take turns in small batches,
so that a busy machine slows both; CPU seconds are of this process and wall seconds of the clock.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

import hydra
from hydra.types import HydraContext
from omegaconf import DictConfig

from tiltyard.launching import sweep
from tiltyard.launching.composing import Composer
from tiltyard.launching.plan import plan_jobs
from tiltyard.launching.task_function import job
from tiltyard.shipped import config_folder

SWEPT = ["model=lexical", "task=iot_tiny,medqa_tiny", "optimizer=none,bootstrap", "tracking=off"]
PER_TURN = 40
"""Jobs in a turn; a multiple of the combinations of one seed."""
COMBINATIONS = 4

Seconds = tuple[float, float]


def _stock(master: DictConfig, context: HydraContext, jobs: Sequence[list[str]]) -> None:
    for _ in ("BasicSweeper.validate_batch_is_legal", "BasicLauncher.launch"):
        for overrides in jobs:
            context.config_loader.load_sweep_config(master, overrides)


def _timed(action: Any) -> Seconds:
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - cpu


def _measure(jobs: int, *, master: DictConfig, context: HydraContext) -> None:
    composer = Composer(context.config_loader)
    plan_jobs(["seed=0", *SWEPT], master, Composer(context.config_loader), {})  # imports what targets name
    stock, ours = [], []
    for first in range(0, jobs // COMBINATIONS, PER_TURN // COMBINATIONS):
        seeds = f"seed=range({first},{first + PER_TURN // COMBINATIONS})"
        planned: list[Any] = []

        def plan(seeds: str = seeds, planned: list[Any] = planned) -> None:
            planned += plan_jobs([seeds, *SWEPT], master, composer, {})
            for one in planned:
                composer.load_sweep_config(master, one.overrides)

        ours.append(_timed(plan))
        overrides = [one.overrides for one in planned]
        stock.append(_timed(lambda overrides=overrides: _stock(master, context, overrides)))
    count = len(ours) * PER_TURN
    for name, turns in (("stock Hydra, both times", stock), ("Tiltyard, checked, with fingerprints", ours)):
        wall, cpu = (sum(values) for values in zip(*turns, strict=True))
        each = 1000 * cpu / count
        print(f"{name:38}{count} jobs  {wall:7.1f} s wall  {cpu:7.2f} s CPU  {each:6.1f} ms CPU each")
    ratios = [sum(turn[kind] for turn in ours) / sum(turn[kind] for turn in stock) for kind in (0, 1)]
    print(f"ratio  wall {ratios[0]:.2f}, CPU {ratios[1]:.2f}")


def main() -> None:
    """Let Hydra set itself up for a sweep, and measure in the place of the sweep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=400, help="default: %(default)s")
    jobs = parser.parse_args().jobs

    def measure(arguments: list[str], *, master: DictConfig, context: HydraContext, launcher: Any) -> None:
        _measure(jobs, master=master, context=context)

    sweep.run_sweep = measure
    sys.argv[1:] = ["-m", *SWEPT]
    hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="config")(job)()


if __name__ == "__main__":
    main()
