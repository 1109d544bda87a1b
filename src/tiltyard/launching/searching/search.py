"""A search: trials that a sampler draws from ranges of options, each a job of one sweep.

    $ tiltyard -m hydra/sweeper=optuna model=lexical model.trust='interval(0, 2)'

The study is kept on disk. The same command goes on with it, as if it had never been interrupted.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict
from optuna.trial import FrozenTrial, TrialState

from tiltyard.config import EvaluatedSplit, instantiate
from tiltyard.errors import InputError, JobError, TiltyardError
from tiltyard.files import write_text
from tiltyard.launching.composing import Composer
from tiltyard.launching.identity import SweepIdentity
from tiltyard.launching.job import command_of, store_flags
from tiltyard.launching.plan import PlannedJob, plan_job
from tiltyard.launching.searching.options import Goal, SearchOptions
from tiltyard.launching.searching.space import Space, read_space
from tiltyard.launching.searching.study import OVERRIDES, Study, open_study
from tiltyard.launching.searching.trials import ERROR, FOLDER, Planner, Trials
from tiltyard.launching.workforce import Workforce
from tiltyard.redaction import one_line
from tiltyard.reporting.search_summary import Searched, Trial, print_search, print_space, write_search
from tiltyard.result import ExperimentResult
from tiltyard.tracking.dead_runs import end_dead_runs

if TYPE_CHECKING:
    from tiltyard.tracking.recorder import Run, Tracking

logger = logging.getLogger(__name__)

TIMED = ("latency.", "examples_per_second", "tokens_per_second", "inference.", "energy.", "cost.")
"""Beginnings of metrics that the response cache changes."""


def run_search(
    arguments: list[str],
    options: SearchOptions,
    *,
    master: DictConfig,
    context: HydraContext,
    launcher: Launcher | Workforce,
) -> None:
    """Search, and sum up; with ``plan=true``, only say what would be searched.

    Args:
        arguments: Hydra overrides; those with a range or several values are searched.
        options: The sweeper's options, checked.
        master: The search's own composed config; its folder is written into it.
        context: What Hydra gave to the sweeper.
        launcher: Who runs the jobs: a workforce, or one of Hydra's own launchers.

    Raises:
        InputError: The space, an option or a value is wrong; no job has been started.
        JobError: Too many trials failed.
    """
    space = read_space(arguments, context.config_loader)
    goal = options.goal(space.size)
    pins: dict[str, str] = {}
    first = _check(space, master, Composer(context.config_loader), pins)
    name = options.study_name or _name(first, space, goal)
    folder = _give_folder(master, Path(options.folder) / name)
    if first.experiment.plan:
        print_space(
            name,
            folder,
            {parameter.key: str(parameter) for parameter in space.parameters},
            goal.objectives,
            trials=goal.trials,
        )
        return
    _warn_of_cache(first, goal)
    tracking: Tracking = instantiate(first.experiment.tracking)
    end_dead_runs(tracking)
    storage = options.storage or f"sqlite:///{folder / 'study.db'}"
    with open_study(name, storage, goal.objectives, options.sampler, folder, space.described()) as study:
        if study.trials() and not first.experiment.resume:
            raise InputError(
                f"study '{name}' has begun, and resume=false is to start anew",
                "give another hydra.sweeper.study_name, or leave out resume=false to go on with it",
            )
        write_text(folder / "multirun.yaml", OmegaConf.to_yaml(master))
        # A new composer: what was composed for the check has another folder.
        planner = Planner(master, Composer(context.config_loader), pins)
        with _own_run(tracking, folder, goal, pins) as tracked:
            SweepIdentity(folder.name, tracked.run_id, pins).save(folder)
            trials = Trials(study, space, goal, planner, folder, tracking)
            try:
                trials.run(launcher)
            except TiltyardError:
                raise
            except Exception as error:
                raise JobError(f"the launcher failed: {one_line(error)}", f"files are in {folder}") from error
            finally:
                searched = _searched(study, space, goal, name, folder, first.experiment.split)
                _sum_up(searched, planner, tracked, store_flags(first.experiment))


def _check(space: Space, master: DictConfig, composer: Composer, pins: dict[str, str]) -> PlannedJob:
    """Check each option's ends, and all its listed values; returns the first sample."""
    samples = [
        plan_job(0, space.overrides(values), master, composer, pins, called="sample")
        for values in space.extremes()
    ]
    if samples[0].experiment.retry:
        raise InputError(
            "retry=failed is for sweeps over listed values", "leave it out: a search draws anew what it needs"
        )
    return samples[0]


def _name(first: PlannedJob, space: Space, goal: Goal) -> str:
    what = json.dumps([space.described(), goal.objectives], sort_keys=True)
    return f"{first.experiment.labels.task}-{hashlib.sha256(what.encode()).hexdigest()[:8]}"


def _give_folder(master: DictConfig, place: Path) -> Path:
    """Give the search a folder that the same command finds again; one on the command line counts more."""
    given = master.hydra.overrides.hydra
    if not any(str(word).lstrip("+").startswith("hydra.sweep.dir=") for word in given):
        with open_dict(master):
            master.hydra.sweep.dir = str(place)
            quoted = str(place).replace("'", "\\'")
            given.append(f"hydra.sweep.dir='{quoted}'")  # Hydra's own launchers compose jobs with it
    return Path(str(master.hydra.sweep.dir)).absolute()


def _warn_of_cache(job: PlannedJob, goal: Goal) -> None:
    timed = [name for name in goal.objectives if name.startswith(TIMED)]
    if timed and job.experiment.cache.enabled and not job.experiment.evaluation.disable_caching:
        logger.warning(
            "%s: answers may come from the response cache; evaluation.disable_caching=true asks the model "
            "each time",
            ", ".join(timed),
        )


def _own_run(tracking: "Tracking", folder: Path, goal: Goal, pins: dict[str, str]) -> "Run":
    """The search's own run: that of an earlier call, whose registered versions count on, if there was one."""
    try:
        before = SweepIdentity.load(folder)
    except (OSError, ValueError, TypeError):
        before = None
    if before is not None:
        pins |= before.pins
        if before.parent_run_id is not None:
            try:
                return tracking.go_on(before.parent_run_id, folder=folder)
            except TiltyardError as error:
                logger.warning("The search's run cannot go on, and another one begins: %s", error)
    return tracking.start(
        f"search/{folder.name}",
        tags={"tiltyard.kind": "sweep", "tiltyard.sweep": folder.name},
        params={"objectives": goal.objectives},
        folder=folder,
    )


def _searched(
    study: Study, space: Space, goal: Goal, name: str, folder: Path, split: EvaluatedSplit
) -> Searched:
    best, notes = set(study.best()), study.notes()
    return Searched(
        name=name,
        folder=folder,
        keys=tuple(parameter.key for parameter in space.parameters),
        objectives=goal.objectives,
        wanted=goal.trials,
        trials=tuple(
            _trial(trial, goal, folder, notes.get(trial.number, {}), trial.number in best)
            for trial in study.trials()
        ),
        split=split,
    )


def _trial(trial: FrozenTrial, goal: Goal, folder: Path, notes: Mapping[str, str], best: bool) -> Trial:
    state = {TrialState.COMPLETE: "ok", TrialState.FAIL: "failed"}.get(trial.state, "unfinished")
    result = None
    if FOLDER in notes and state != "unfinished":
        try:
            result = ExperimentResult.load(folder / notes[FOLDER])
        except (OSError, ValueError, KeyError, TypeError):
            logger.debug("Trial %d has lost its files in %s", trial.number, notes[FOLDER])
    return Trial(
        number=trial.number,
        state=state,
        values=dict(trial.params),
        objectives=dict(zip(goal.objectives, trial.values or (), strict=False)),
        overrides=tuple(trial.user_attrs[OVERRIDES]),
        best=best,
        error=notes.get(ERROR, "") or (result.error if result is not None else ""),
        result=result,
    )


def _on_test(overrides: Sequence[str], split: EvaluatedSplit) -> list[str]:
    """The overrides of the same trial on the split that the search has left for it."""
    if split == "test":
        return list(overrides)
    others = [override for override in overrides if override.lstrip("+").partition("=")[0] != "split"]
    return [*others, "split=test"]


def _sum_up(searched: Searched, planner: Planner, tracked: "Run", store: Sequence[str]) -> None:
    """Show and keep what the trials found."""
    best = next((trial for trial in searched.trials if trial.best), None)
    again = ""
    if best is not None:
        overrides = _on_test(best.overrides, searched.split)
        composed = planner.composer.load_sweep_config(planner.master, overrides)
        again = command_of(composed.hydra)
    print_search(searched, again=again, store=store)
    for file in write_search(searched, again=again):
        tracked.log_file(file)
    states = [trial.state for trial in searched.trials]
    tracked.log_metrics({"jobs": len(states), "jobs.failed": states.count("failed")})
