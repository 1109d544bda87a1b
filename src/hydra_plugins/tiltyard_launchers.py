"""Hydra's door to Tiltyard's launchers: Hydra accepts them from the ``hydra_plugins`` namespace only.

Hydra imports this module at every start, so what does the work is imported when a sweep begins.
"""

from abc import abstractmethod
from collections.abc import Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from tiltyard.launching.slurm.options import SlurmOptions

if TYPE_CHECKING:
    from tiltyard.launching.workforce import Workforce


class PlannedLauncher(Launcher):
    """A launcher for sweeps that are planned first: it takes composed configs, and gives back files only."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Needs nothing of it: a job carries its own config."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Refuse: another sweeper has no plan."""
        from tiltyard.errors import InputError

        raise InputError(
            "Tiltyard's launchers work with Tiltyard's sweepers only",
            "leave hydra/sweeper alone, or add hydra/launcher=basic",
        )

    @abstractmethod
    def workforce(self) -> "Workforce":
        """Who works on the jobs.

        Raises:
            InputError: An option is wrong, or a package that it takes is not installed.
        """


class WorkersLauncher(PlannedLauncher):
    """Worker processes on this machine.

    Args:
        workers: How many jobs run at the same time, at least 1.
    """

    def __init__(self, workers: int = 1) -> None:
        self._workers = workers

    def workforce(self) -> "Workforce":
        """See :meth:`PlannedLauncher.workforce`."""
        from tiltyard.launching.workers import Workers

        return Workers(self._workers)


class RayLauncher(PlannedLauncher):
    """Slots on the nodes of a Ray cluster.

    Args:
        **options: Those of :class:`tiltyard.launching.ray.cluster.RayCluster`.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options

    def workforce(self) -> "Workforce":
        """See :meth:`PlannedLauncher.workforce`."""
        from tiltyard.launching.ray.cluster import RayCluster
        from tiltyard.signatures import check_node

        check_node(self._options, "hydra.launcher", target=RayCluster)
        return RayCluster(**self._options)


class SlurmLauncher(PlannedLauncher):
    """A job array on a Slurm cluster.

    Args:
        **options: Those of :class:`tiltyard.launching.slurm.options.SlurmOptions`.
    """

    __signature__ = signature(SlurmOptions)

    def __init__(self, **options: Any) -> None:
        self._given = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Check the options."""
        from tiltyard.signatures import check_node

        check_node(self._given, "hydra.launcher", target=SlurmOptions)
        self._options = SlurmOptions(**self._given)
        self._config = config

    def workforce(self) -> "Workforce":
        """See :meth:`PlannedLauncher.workforce`."""
        from tiltyard.launching.slurm.cluster import on_cluster

        return on_cluster(self._options, self._config)
