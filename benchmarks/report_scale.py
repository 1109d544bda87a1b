"""How long a report over many runs takes, how much memory, and how large its page is.

    python benchmarks/report_scale.py --runs 500 --rows 200

Makes a local store of synthetic runs (tasks, models, optimizers and seeds in equal parts, with epochs and
playbooks), then lets ``tiltyard report`` build the report of one sweep of few runs and of all of them, each
in a process of its own. The first says what starting, importing and drawing cost; the difference is the runs.
Beside it stands how long MLflow's client takes to fetch the same rows, run by run.
"""

import argparse
import itertools
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tiltyard.evaluation.rows import Row, write_rows
from tiltyard.tracking.reader import ROWS
from tiltyard.tracking.recorder import LocalTracking

TASKS, MODELS = 5, 5
OPTIMIZERS = ("none", "ace", "bootstrap", "cheatsheet", "gepa")
FEW = 4
FETCHED = 60
"""Runs whose rows are fetched through MLflow's client, to compare."""
BUILD = """
import resource, sys, time
from tiltyard.reporting.command import report
started, cpu = time.perf_counter(), time.process_time()
report(sys.argv[1:])
print("measured", time.perf_counter() - started, time.process_time() - cpu,
      resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def make_store(folder: Path, runs: int, rows: int) -> None:
    """Fill a store; every score is drawn from its arm's own probability."""
    draw = random.Random(0)
    tracking = LocalTracking(folder=str(folder / "mlruns"))
    arms = list(itertools.product(range(TASKS), range(MODELS), OPTIMIZERS))
    for number in range(runs):
        task, model, optimizer = arms[number % len(arms)]
        seed = number // len(arms)
        mode = "baseline" if optimizer == "none" else optimizer
        labels = {"task": f"task-{task}", "model": f"model-{model}", "mode": mode, "optimizer": optimizer}
        chance = 0.3 + 0.08 * model + 0.05 * OPTIMIZERS.index(optimizer)
        outputs = folder / "outputs" / str(number)
        made = [_row(labels, sample, draw, chance, model) for sample in range(rows)]
        write_rows(outputs / ROWS, made)
        (outputs / "config.yaml").write_text("".join(f"option_{n}: value {n}\n" for n in range(80)))
        tags = {f"tiltyard.{name}": value for name, value in labels.items()}
        tags |= {
            "tiltyard.fingerprint": str(number),
            "tiltyard.sweep": "few" if number < FEW else "many",
            "tiltyard.command": f"tiltyard model=model-{model} optimizer={optimizer} seed={seed}",
        }
        name = f"task-{task}/model-{model}/{optimizer}/s{seed}"
        with tracking.start(name, tags=tags, params={"seed": seed, "limit": rows}) as run:
            run.log_metrics({"score": sum(row.score for row in made) / rows, "examples": rows})
            if optimizer in ("ace", "cheatsheet"):
                run.log_curves(
                    (
                        epoch,
                        {
                            "epoch.score": chance * epoch / 3,
                            "optimizer.playbook.entries": 4.0 * epoch,
                            "optimizer.playbook.tokens": 120.0 * epoch,
                        },
                    )
                    for epoch in range(4)
                )
            run.log_folder(outputs)


def _row(labels: dict[str, str], sample: int, draw: random.Random, chance: float, model: int) -> Row:
    score = int(draw.random() < chance)
    return Row(
        model_id=labels["model"],
        task_name=labels["task"],
        domain="synthetic",
        mode=labels["mode"],
        sample_id=f"{labels['task']}-{sample}",
        gold=f"answer {sample}",
        pred=f"answer {sample if score else draw.randrange(1000)}",
        latency_ms=draw.lognormvariate(4 + 0.5 * model, 0.4),
        question=f"What does paragraph {sample} of {labels['task']} say of the limit? " * 3,
        context=f"Context {sample // 5} of {labels['task']}. " * 30,
        correct=score,
        score=score,
        split="test",
        epoch=0,
        finish_reason="stop",
        error="",
        reflection_latency_ms=0.0,
        reflected=0,
        prompt_tokens=300,
        completion_tokens=12,
        cached=0,
    )


def build(folder: Path, *options: str) -> tuple[float, float, float]:
    """Seconds, processor seconds and peak MB of a process that builds a report."""
    command = [sys.executable, "-c", BUILD, "--tracking", str(folder / "mlruns"), "--no-log", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    wall, cpu, peak = done.stdout.rstrip().splitlines()[-1].split()[1:]
    return float(wall), float(cpu), float(peak)


def fetch(folder: Path, runs: int) -> float:
    """Seconds per run in which MLflow's client fetches rows."""
    connection = LocalTracking(folder=str(folder / "mlruns")).connect(create=False)
    experiment = connection.experiment_id("tiltyard")
    found = connection.client.search_runs([str(experiment)], max_results=min(runs, FETCHED))
    started = time.perf_counter()
    for run in found:
        with tempfile.TemporaryDirectory() as into:
            connection.client.list_artifacts(run.info.run_id)
            connection.client.download_artifacts(run.info.run_id, ROWS, into)
    return (time.perf_counter() - started) / len(found)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--rows", type=int, default=200)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        started = time.perf_counter()
        make_store(folder, chosen.runs, chosen.rows)
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"store of {chosen.runs} runs made in {time.perf_counter() - started:.0f} s ({own:.0f} MB)")
        few = build(folder, "--sweep", "few", "--output", str(folder / "few"))
        every = build(folder, "--output", str(folder / "all"))
        size = (folder / "all" / "report.html").stat().st_size / 1e6
        for label, (wall, cpu, peak) in ((f"{FEW} runs", few), (f"{chosen.runs} runs", every)):
            print(f"{label:>9}: {wall:6.1f} s, {cpu:6.1f} s of processor, peak {peak:5.0f} MB")
        print(
            f"{chosen.runs} runs take {every[1] / few[1]:.1f} times the processor time of {FEW} and "
            f"{every[2] / few[2]:.2f} times the memory; the page has {size:.1f} MB"
        )
        print(f"MLflow's client would fetch the rows in {1000 * fetch(folder, chosen.runs):.0f} ms a run")


if __name__ == "__main__":
    main()
