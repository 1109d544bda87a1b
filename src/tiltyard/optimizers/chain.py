"""Several optimizers one after another, each compiling what the one before it made.

    >>> optimizer = Chain([BootstrapFewShot(metric), Gepa(metric)])
    >>> program = optimizer.compile(student, trainset=train, valset=validation)

What a step keeps of the program is its own affair: those that make instructions keep the demonstrations,
those that make demonstrations replace the ones before and keep the instructions. Demonstrations that are
chosen for each question (``KnnFewShot``) stay: those of later steps stand before them.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
from dspy.teleprompt import Teleprompter

from tiltyard.config import instantiate
from tiltyard.errors import InputError
from tiltyard.optimizers.recorded import compile_recorded, sets_for, told_by, uses_both_sets
from tiltyard.optimizers.recorder import Metric
from tiltyard.optimizers.report import OptimizationReport, Point

logger = logging.getLogger(__name__)

Steps = Mapping[str, Any] | Sequence[Any]


class Chain(Teleprompter):  # type: ignore[misc]
    """Runs optimizers in turn.

    Args:
        steps: The optimizers in their order, or the config nodes that make them: a list, or a mapping whose
            keys name the steps. A step that is null is left out.
        metric: Given to the steps that are nodes.
        checkpoints: Where each of those gets a folder of its own; None keeps no checkpoints.

    Raises:
        InputError: There are no steps, or one is no optimizer.
    """

    def __init__(self, steps: Steps, metric: Metric | None = None, checkpoints: Path | None = None) -> None:
        named = steps if isinstance(steps, Mapping) else {str(at): one for at, one in enumerate(steps, 1)}
        self.steps: dict[str, Teleprompter] = {
            str(name): _built(str(name), step, metric, checkpoints)
            for name, step in named.items()
            if step is not None
        }
        if not self.steps:
            raise InputError("the chain has no steps", "add optimizers to optimizer.steps")
        self.report = OptimizationReport()

    @property
    def uses_both_sets(self) -> bool:
        """Whether any step does."""
        return any(map(uses_both_sets, self.steps.values()))

    def compile(
        self,
        student: dspy.Module,
        *,
        trainset: list[dspy.Example],
        valset: list[dspy.Example] | None = None,
    ) -> dspy.Module:
        """Compile a copy of the student with each step in turn."""
        self.report = OptimizationReport()
        program = student
        for name, step in self.steps.items():
            logger.info("Step %s: %s", name, type(step).__name__)
            program = program.deepcopy()
            program._compiled = False  # some of DSPy's refuse what another one has compiled
            try:
                program, report = compile_recorded(step, program, **sets_for(step, trainset, valset))
            except BaseException:  # what the step found until then is worth telling, too
                if (found := told_by(step)) is not None:
                    _append(self.report, name, found)
                raise
            _append(self.report, name, report)
        return program


def _built(name: str, step: Any, metric: Metric | None, checkpoints: Path | None) -> Teleprompter:
    folder = None if checkpoints is None else checkpoints / name
    built = instantiate(step, metric=metric, checkpoints=folder) if isinstance(step, Mapping) else step
    if not callable(getattr(built, "compile", None)):
        raise InputError(
            f"step {name} of the chain is a {type(built).__name__}, which cannot compile a program",
            "name a DSPy teleprompter",
        )
    teleprompter: Teleprompter = built
    return teleprompter


def _append(whole: OptimizationReport, name: str, step: OptimizationReport) -> None:
    """Put a step's report behind what there is: sums of what was spent, names that tell the steps apart."""
    calls_before = int(whole.metrics.get("optimizer.metric_calls", 0))
    points_before = whole.points[-1].step if whole.points else 0
    best = "optimizer.best_score"  # the chain returns the last step's program, measured or not
    whole.metrics.pop(best, None)
    for key, value in step.metrics.items():
        whole.metrics[key] = value if key == best else whole.metrics.get(key, 0.0) + value
    whole.points += [Point(point.step + points_before, point.values) for point in step.points]
    whole.candidates = [replace(one, chosen=False) for one in whole.candidates]
    whole.candidates += [
        replace(
            one,
            name=f"{name}: {one.name}",
            metric_calls=None if one.metric_calls is None else one.metric_calls + calls_before,
        )
        for one in step.candidates
    ]
    whole.files |= {f"{name}_{file}": text for file, text in step.files.items()}
    whole.notes += [f"{name}: {note}" for note in step.notes]
    whole.warnings += [f"{name}: {warning}" for warning in step.warnings]
    # Epochs count from 1 in each step, so only one step's can be told: the last that has any.
    whole.snapshots = step.snapshots or whole.snapshots
    whole.attempts = step.attempts or whole.attempts
    whole.chosen_epoch = step.chosen_epoch
