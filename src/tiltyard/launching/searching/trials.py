"""Runs the trials of a search: as one ends, its score is told to the study, and the next is drawn.

>>> trials = Trials(study, space, goal, planner, folder, tracking)
>>> trials.run(workforce)
"""

import difflib
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig
from optuna.trial import FrozenTrial, TrialState

from tiltyard.errors import InputError, JobError, TiltyardError
from tiltyard.launching.assignment import INTERRUPTED, Assignment, assign
from tiltyard.launching.composing import Composer
from tiltyard.launching.outlook import Fate, Outlook, outlooks
from tiltyard.launching.plan import PlannedJob, plan_job, write_plan
from tiltyard.launching.searching.options import Goal
from tiltyard.launching.searching.space import Space
from tiltyard.launching.searching.study import OVERRIDES, Study
from tiltyard.launching.sweep import result_of, settle, use, write_off
from tiltyard.launching.watching import watching
from tiltyard.launching.workforce import Ended, Workforce
from tiltyard.result import RESULT_FILE, ExperimentResult
from tiltyard.telemetry import activity
from tiltyard.telemetry.activity import recording_activity
from tiltyard.tracking.run import MlflowRun

if TYPE_CHECKING:
    from tiltyard.tracking.recorder import Tracking

logger = logging.getLogger(__name__)

FOLDER, ERROR = "folder", "error"
"""What is noted of a trial: where its files are, relative to the search's; why it could not be planned."""


@dataclass(frozen=True)
class Planner:
    """What turns a trial into a job."""

    master: DictConfig
    """The search's own composed config."""
    composer: Composer
    """Composes the jobs' configs."""
    pins: dict[str, str]
    """The registered versions that the jobs name, by their references."""

    def plan(self, trial: FrozenTrial) -> PlannedJob:
        """Compose and check a trial's job.

        Raises:
            TiltyardError: Its values do not go together.
        """
        overrides = list(trial.user_attrs[OVERRIDES])
        return plan_job(trial.number, overrides, self.master, self.composer, self.pins, called="trial")

    def assign(self, job: PlannedJob) -> Assignment:
        """Pack a job for its way."""
        return assign(job, self.composer, self.master)


class Trials:
    """The trials of a study that this process works on.

    Args:
        study: The study.
        space: What is searched.
        goal: What for, and how far.
        planner: Turns trials into jobs.
        folder: The search's folder.
        tracking: Where the jobs' runs are recorded.
    """

    def __init__(
        self, study: Study, space: Space, goal: Goal, planner: Planner, folder: Path, tracking: "Tracking"
    ) -> None:
        self._study = study
        self._space = space
        self._goal = goal
        self._planner = planner
        self._folder = folder
        self._tracking = tracking
        self._left = study.unfinished()
        """Trials of an earlier process, to be run again under their numbers."""
        self._running: dict[int, PlannedJob] = {}
        self._broken_off: list[int] = []
        """Jobs that were told to stop: by a Ctrl-C that ends the search, or by somebody else."""
        self._planned: list[tuple[PlannedJob, Outlook]] = []
        self._failed = 0
        self._stop: TiltyardError | None = None

    def run(self, launcher: Launcher | Workforce) -> None:
        """Run trials until there are as many as asked for.

        Args:
            launcher: Who runs the jobs: a workforce, or one of Hydra's own launchers.

        Raises:
            TiltyardError: The search cannot go on.
            KeyboardInterrupt: It is to stop; trials that have not ended will be run again.
        """
        if self._fill():
            if isinstance(launcher, Launcher):
                self._work(
                    _Launched(use(launcher, self._planner.composer, self._planner.master), self._running)
                )
            else:
                with recording_activity(self._folder), watching(self._folder):
                    self._work(launcher)
        if self._stop is not None:
            raise self._stop

    def _work(self, workforce: Workforce) -> None:
        while self._running:
            workforce.work([self._planner.assign(job) for job in self._running.values()], self._ended)
            while self._broken_off:  # the search goes on, so it was not for its sake
                self._conclude(self._running.pop(self._broken_off.pop()))
            self._fill()

    def _fill(self) -> list[PlannedJob]:
        """Take up trials until as many run as may; returns those that are to run."""
        taken = []
        while self._stop is None and len(self._running) < self._goal.at_once:
            goes_on = bool(self._left)
            trial = self._left.pop(0) if goes_on else self._draw()
            if trial is None:
                break
            job = self._take_up(trial, goes_on)
            if job is not None:
                self._running[job.number] = job
                taken.append(job)
        return taken

    def _draw(self) -> FrozenTrial | None:
        return self._study.ask(self._space) if len(self._study.trials()) < self._goal.trials else None

    def _take_up(self, trial: FrozenTrial, goes_on: bool) -> PlannedJob | None:
        """Plan a trial's job; None where it need not run, or cannot."""
        try:
            job = self._planner.plan(trial)
        except TiltyardError as error:
            self._study.note(trial.number, error=str(error))
            self._fail(trial.number, str(error))
            return None
        self._study.note(trial.number, folder=os.path.relpath(job.folder, self._folder))
        if goes_on and _ended_well(job):
            self._conclude(job)
            return None
        for file in (RESULT_FILE, activity.FILE):
            (job.folder / file).unlink(missing_ok=True)
        [outlook] = outlooks([job])
        outlook = settle(job, outlook)
        self._planned.append((job, outlook))
        jobs, found = zip(*self._planned, strict=True)
        write_plan(jobs, found, self._folder)
        if outlook.fate is Fate.RUN:
            return job
        self._conclude(job)
        return None

    def _ended(self, number: int, reason: str) -> list[Assignment]:
        """See :data:`tiltyard.launching.workforce.Ended`: further trials come up as others end."""
        if reason:
            write_off(self._running[number], reason)
        if reason == INTERRUPTED:
            self._broken_off.append(number)
            return []
        self._conclude(self._running.pop(number))
        return [self._planner.assign(job) for job in self._fill()]

    def _conclude(self, job: PlannedJob) -> None:
        """Tell the study what a job found."""
        result = result_of(job)
        self._tag(job, result)
        if result.error:
            self._fail(job.number, result.error)
            return
        names = list(self._goal.objectives)
        values = [result.metrics.get(name, math.nan) for name in names]
        missing = [name for name, value in zip(names, values, strict=True) if math.isnan(value)]
        if missing:
            self._stop = self._stop or self._unknown(missing[0], result)
            what = "is not a number" if missing[0] in result.metrics else "is missing in its result"
            self._fail(job.number, f"{missing[0]} {what}")
            return
        self._study.tell(job.number, values)
        logger.info(
            "trial %d: %s%s (%s)",
            job.number,
            ", ".join(f"{name} {value:.4g}" for name, value in zip(names, values, strict=True)),
            ", the best so far" if [job.number] == self._study.best() else "",
            " ".join(override for override in job.overrides if override not in self._space.entries),
        )

    def _unknown(self, name: str, result: ExperimentResult) -> InputError | None:
        """What ends a search for a metric that not one trial has had: its name is wrong."""
        if name in result.metrics or any(
            trial.state is TrialState.COMPLETE for trial in self._study.trials()
        ):
            return None
        close = difflib.get_close_matches(name, result.metrics, n=3)
        return InputError(
            f"a run's result has no metric '{name}'",
            f"did you mean {' or '.join(close)}?" if close else f"{result.folder / RESULT_FILE} lists them",
        )

    def _fail(self, number: int, reason: str) -> None:
        self._study.tell(number, None)
        self._failed += 1
        logger.error("trial %d failed: %s", number, reason)
        if self._stop is None and self._failed > self._goal.may_fail:
            self._stop = JobError(
                f"{self._failed} trials failed, and max_failure_rate lets {self._goal.may_fail} of "
                f"{self._goal.trials} fail",
                "the table says why; the same command goes on with the rest",
            )

    def _tag(self, job: PlannedJob, result: ExperimentResult) -> None:
        """Let the tracked run say which trial it is; one of an earlier sweep stays as it is."""
        if result.run_id is None or result.kept_from:
            return
        params = next(trial.params for trial in self._study.trials() if trial.number == job.number)
        tags = {"tiltyard.trial": str(job.number)}
        tags |= {f"tiltyard.trial.{key}": str(value) for key, value in params.items()}
        try:
            MlflowRun(self._tracking.connect(create=False), result.run_id, {}, job.folder).set_tags(tags)
        except TiltyardError as error:
            logger.warning("Trial %d has no tags: %s", job.number, error)


class _Launched:
    """Lets one of Hydra's own launchers work: it numbers its jobs on from the first."""

    def __init__(self, launcher: Launcher, jobs: dict[int, PlannedJob]) -> None:
        self._launcher = launcher
        self._jobs = jobs

    def work(self, assignments: Sequence[Assignment], ended: Ended) -> None:
        """See :meth:`tiltyard.launching.workforce.Workforce.work`."""
        rows: list[list[PlannedJob]] = []
        for number in sorted(assignment.number for assignment in assignments):
            if rows and rows[-1][-1].number == number - 1:
                rows[-1].append(self._jobs[number])
            else:
                rows.append([self._jobs[number]])
        for row in rows:
            self._launcher.launch([job.overrides for job in row], initial_job_idx=row[0].number)
            for job in row:
                ended(job.number, "")


def _ended_well(job: PlannedJob) -> bool:
    """Whether a job ended after the process that waited for it."""
    try:
        result = ExperimentResult.load(job.folder)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return not result.error and bool(job.fingerprint) and result.fingerprint == job.fingerprint
