"""A search's study on disk: its trials, kept by Optuna, and who may work on them.

>>> with open_study("iot", storage, {"score": "maximize"}, sampler, folder, described) as study:
...     trial = study.ask(space)
...     study.tell(trial.number, [0.7])
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial, TrialState

from tiltyard.config import instantiate
from tiltyard.errors import InputError, JobError
from tiltyard.launching.searching.space import Space
from tiltyard.redaction import one_line, redact
from tiltyard.signatures import TARGET

SEARCH = "tiltyard.search"
"""The study's attribute that says what is searched, for which objectives."""
OVERRIDES = "overrides"
"""A trial's attribute with its overrides. One without it was broken off before its values were complete."""
NOTES = "tiltyard.trial.{}"
"""The study's attribute with what was noted of a trial: Optuna lets a trial's own be written where it was
asked for only, and not by a later process."""
LOCK_FILE = "study.lock"
_ONE_SEQUENCE = ("QMCSampler",)
"""Samplers whose trials are places in one sequence, which one seed makes."""
_EXHAUSTED = "Study.stop"
"""What Optuna's error names when a sampler that has tried everything wants to stop a loop of Optuna's own."""


class Study:
    """A study that this process works on.

    Each trial is drawn with a seed of its own, from the sampler's seed and the trial's number. So a search
    that was interrupted goes on exactly as it would have.

    Args:
        study: The study.
        sampler: Makes the sampler for the trial of a number.
    """

    def __init__(self, study: optuna.Study, sampler: Callable[[int], optuna.samplers.BaseSampler]) -> None:
        self._study = study
        self._sampler = sampler

    def ask(self, space: Space) -> FrozenTrial:
        """Draw the values of the next trial.

        Raises:
            InputError: The sampler cannot search the space.
            JobError: The storage failed.
        """
        with _explaining():
            self._study.sampler = self._sampler(len(self._study.get_trials(deepcopy=False)))
            try:
                trial = self._study.ask(space.distributions)
            except ValueError as error:
                raise InputError(
                    f"the sampler cannot search this space: {one_line(error)}",
                    "choose another one (hydra/sweeper/sampler=tpe)",
                ) from error
            trial.set_user_attr(OVERRIDES, space.overrides(trial.params))
            return self._study.get_trials(deepcopy=False)[trial.number]

    def note(self, number: int, **notes: str) -> None:
        """Keep something about a trial beside its values, in the place of what was noted before."""
        with _explaining():
            self._study.set_user_attr(NOTES.format(number), notes)

    def notes(self) -> dict[int, dict[str, str]]:
        """What was noted, by the trials' numbers."""
        with _explaining():
            attributes = self._study.user_attrs
        beginning = NOTES.format("")
        return {
            int(key.removeprefix(beginning)): notes
            for key, notes in attributes.items()
            if key.startswith(beginning)
        }

    def tell(self, number: int, values: Sequence[float] | None) -> None:
        """Finish a trial.

        Args:
            number: The trial's number.
            values: One per objective, none of them NaN; None for a trial that failed.

        Raises:
            JobError: The storage failed.
        """
        state = TrialState.FAIL if values is None else TrialState.COMPLETE
        with _explaining():
            try:
                self._study.tell(number, values, state)
            except RuntimeError as error:  # the trial is told: see optuna.samplers.GridSampler
                if _EXHAUSTED not in str(error):
                    raise

    def trials(self) -> list[FrozenTrial]:
        """All trials whose values were drawn, in their order."""
        with _explaining():
            return [
                trial for trial in self._study.get_trials(deepcopy=False) if OVERRIDES in trial.user_attrs
            ]

    def unfinished(self) -> list[FrozenTrial]:
        """Trials that an earlier process began and did not finish, in their order.

        Those without all their values are finished here, as failed.
        """
        with _explaining():
            running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        for trial in running:
            if OVERRIDES not in trial.user_attrs:
                self.tell(trial.number, None)
        return [trial for trial in running if OVERRIDES in trial.user_attrs]

    def best(self) -> list[int]:
        """The numbers of the best trials: one, or the Pareto front of several objectives."""
        with _explaining():
            if not self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
                return []
            if len(self._study.directions) > 1:
                return sorted(trial.number for trial in self._study.best_trials)
            return [self._study.best_trial.number]


@contextmanager
def open_study(
    name: str,
    storage: str,
    objectives: Mapping[str, str],
    sampler: Mapping[str, Any],
    folder: Path,
    described: Mapping[str, Any],
) -> Iterator[Study]:
    """Open a study, made when it does not exist, for this process alone.

    Args:
        name: The study's name.
        storage: An SQLAlchemy address, such as ``sqlite:///study.db``.
        objectives: ``maximize`` or ``minimize``, by the metrics' names.
        sampler: The node of an Optuna sampler. One with an integer ``seed`` draws the same again.
        folder: The search's folder, which is made when it does not exist.
        described: What is searched; see :meth:`tiltyard.launching.searching.space.Space.described`.

    Raises:
        InputError: Another process works on the study, it is of another search, or it cannot be opened.
        JobError: The storage failed.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / LOCK_FILE).acquire(blocking=False)
    except Timeout as error:
        raise InputError(
            f"another process works on study '{name}'", "wait for it, or choose another study_name"
        ) from error
    with lock:
        build = _builder(sampler)
        try:
            study = optuna.create_study(
                storage=storage,
                study_name=name,
                sampler=build(0),
                directions=[optuna.study.StudyDirection[way.upper()] for way in objectives.values()],
                load_if_exists=True,
            )
            _refuse_another_search(study, {**described, "objectives": dict(objectives)})
        except InputError:
            raise
        except Exception as error:  # whatever the storage's driver raises
            raise InputError(
                f"study '{name}' cannot be opened in {redact(storage)}: {one_line(error)}",
                "check hydra.sweeper.storage",
            ) from error
        yield Study(study, build)


def _builder(sampler: Mapping[str, Any]) -> Callable[[int], optuna.samplers.BaseSampler]:
    """What makes the sampler of a trial."""
    seed = sampler.get("seed")
    if seed is None or str(sampler[TARGET]).rpartition(".")[2] in _ONE_SEQUENCE:
        only = _build(sampler)
        return lambda number: only
    return lambda number: _build({**sampler, "seed": _mixed(int(seed), number)})


def _build(sampler: Mapping[str, Any]) -> optuna.samplers.BaseSampler:
    try:
        built: optuna.samplers.BaseSampler = instantiate(sampler)
    except Exception as error:  # its constructor checks what its signature does not say
        raise InputError(
            f"hydra.sweeper.sampler: {one_line(error.__cause__ or error)}", "change the sampler's options"
        ) from error
    return built


def _mixed(seed: int, number: int) -> int:
    """A seed for each trial: neighbouring ones have nothing in common."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:4])


def _refuse_another_search(study: optuna.Study, wanted: Mapping[str, Any]) -> None:
    """Let a study be continued by the search that began it only; its trials say nothing of another."""
    began = study.user_attrs.get(SEARCH)
    if began is None and not study.get_trials(deepcopy=False):
        study.set_user_attr(SEARCH, dict(wanted))
        return
    asked = json.loads(json.dumps(wanted))  # as it would be read back
    other = [part for part in asked if began is None or began.get(part) != asked[part]]
    if other:
        what = {"space": "another space", "objectives": "other objectives", "overrides": "other overrides"}
        raise InputError(
            f"study '{study.study_name}' has {', '.join(what[part] for part in other)}",
            "give this search another hydra.sweeper.study_name, or repeat the command that began the study",
        )


@contextmanager
def _explaining() -> Iterator[None]:
    """Word what the storage's driver raises."""
    from optuna.exceptions import StorageInternalError

    try:
        yield
    except StorageInternalError as error:
        raise JobError(
            f"the study cannot be written: {one_line(error)}", "see whether its disk is full"
        ) from error
