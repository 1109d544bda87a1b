"""The options of a search: what ``hydra/sweeper=optuna`` takes, and their check.

>>> search_options(master).n_trials
20
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field

from tiltyard.errors import InputError
from tiltyard.signatures import HYDRA_KEYS, TARGET, check_node

Direction = Literal["maximize", "minimize"]
SCORE = "score"
"""The objective where none is named."""
EXHAUSTIVE = "BruteForceSampler"
"""Optuna's sampler that draws each combination once."""
PLACE = "hydra.sweeper"


@dataclass(frozen=True)
class Goal:
    """What a search is after, and how far it goes."""

    objectives: dict[str, str]
    """``maximize`` or ``minimize``, by metrics of a run's result."""
    trials: int
    """Trials of the study altogether, at least 1."""
    at_once: int
    """Trials at the same time, at least 1."""
    may_fail: int
    """Trials that may fail before the search stops."""


@dataclass(frozen=True)
class SearchOptions:
    """The options of ``hydra/sweeper=optuna``."""

    sampler: dict[str, Any]
    """The node of an Optuna sampler."""
    params: dict[str, Any] | None = None
    """Overrides by their keys, as on the command line, which counts more."""
    direction: Direction = "maximize"
    """Of the score, where ``objectives`` names nothing."""
    objectives: dict[str, Direction] | None = None
    """``maximize`` or ``minimize``, by metrics of a run's result; None for its score."""
    n_trials: Annotated[int, Field(ge=1)] = 20
    """Trials of the study altogether, those of earlier calls and failed ones included."""
    n_jobs: Annotated[int, Field(ge=1)] = 1
    """Trials at the same time. With several, what is drawn depends on which of them ends first."""
    study_name: Annotated[str, Field(max_length=200, pattern=r"^\w[\w.=-]*$")] | None = None
    """The study, and the folder of the search; None makes a name from the task and what is searched."""
    storage: Annotated[str, Field(min_length=1)] | None = None
    """The study's database as an SQLAlchemy address; None for ``study.db`` in the folder of the search."""
    folder: Annotated[str, Field(min_length=1)] = "outputs/searches"
    """Where searches have their folders, unless ``hydra.sweep.dir`` is given on the command line."""
    max_failure_rate: Annotated[float, Field(ge=0, le=1)] = 0.1
    """The search stops when more than this share of its trials has failed since it was started."""

    def goal(self, combinations: int | None) -> Goal:
        """What the search is after.

        Args:
            combinations: How many there are; None for a continuum. A sampler that goes through all of them
                ends with them.
        """
        exhaustive = combinations is not None and str(self.sampler[TARGET]).endswith(EXHAUSTIVE)
        trials = min(self.n_trials, combinations) if exhaustive and combinations else self.n_trials
        objectives: Mapping[str, str] = self.objectives or {SCORE: self.direction}
        return Goal(dict(objectives), trials, self.n_jobs, math.floor(self.max_failure_rate * trials))


def search_options(master: DictConfig) -> SearchOptions:
    """Read and check the sweeper's options.

    Args:
        master: The search's own composed config.

    Raises:
        InputError: An option is unknown, or has a wrong value.
    """
    try:
        node: Any = OmegaConf.to_container(master.hydra.sweeper, resolve=True)
    except OmegaConfBaseException as error:
        raise InputError(f"{PLACE}: {str(error).splitlines()[0]}", "give the value") from error
    options = {key: value for key, value in node.items() if key not in HYDRA_KEYS}
    sampler = options.get("sampler")
    if not isinstance(sampler, dict) or TARGET not in sampler:
        raise InputError(
            f"{PLACE}.sampler is not a sampler", "choose one: hydra/sweeper/sampler=tpe (tiltyard --help)"
        )
    check_node(options, PLACE, target=SearchOptions)
    return SearchOptions(**options)
