"""Estimates how long a job will take, from earlier runs of the same model, task, optimizer and split.

>>> estimate(experiment, earlier_runs(tracking))
42.5
"""

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tiltyard.config import ExperimentConfig

if TYPE_CHECKING:
    from tiltyard.tracking.reader import TrackedRun

RECENT = 9
"""How many of the latest runs are asked: code and machines change."""


def estimate(experiment: ExperimentConfig, earlier: "Sequence[TrackedRun]") -> float | None:
    """The median time of the latest runs that are alike, in seconds; None where there is none.

    Runs are alike that have the same labels of model, task and optimizer, and evaluated the same split.
    Their times are scaled by the number of examples where ``limit`` differs. Runs that the response cache
    answered entirely, or that took examples over from an earlier try, count only where there are no others.

    Args:
        experiment: The job.
        earlier: Recorded runs, oldest first.
    """
    labels = experiment.labels
    alike = [
        run
        for run in earlier
        if run.status == "FINISHED"
        and run.ended is not None
        and (run.model, run.task, run.optimizer) == (labels.model, labels.task, labels.optimizer)
        and run.split == experiment.split
    ]
    asked = [run for run in alike if run.asked_the_model] or alike
    whole = [run for run in asked if not run.metrics.get("examples.resumed")] or asked
    known = [seconds for run in whole if (seconds := _scaled(run, experiment.limit)) is not None]
    return statistics.median(known[-RECENT:]) if known else None


def _scaled(run: "TrackedRun", limit: int | None) -> float | None:
    """The run's time with as many examples as ``limit`` allows; None where that cannot be told."""
    assert run.ended is not None
    seconds = (run.ended - run.started).total_seconds()
    written, examples = run.params.get("limit", "None"), run.metrics.get("examples")
    if written == str(limit):
        return seconds
    if not examples:
        return None
    had_all = not written.isdigit() or examples < int(written)
    if limit is None:
        return seconds if had_all else None
    return seconds * (min(limit, examples) if had_all else limit) / examples
