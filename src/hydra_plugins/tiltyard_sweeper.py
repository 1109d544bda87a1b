"""Hydra's door to Tiltyard's sweeps: Hydra accepts sweepers from the ``hydra_plugins`` namespace only."""

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

from hydra_plugins.tiltyard_launchers import PlannedLauncher


class PlannedSweeper(BasicSweeper):
    """Composes and checks every job before the first one starts, then launches them all.

    Hydra imports this module at every start, so the work itself is imported when a sweep begins.
    """

    def __init__(self, params: dict[str, str] | None = None) -> None:
        super().__init__(max_batch_size=None, params=params)

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep that the arguments and ``hydra.sweeper.params`` span."""
        from tiltyard.launching.sweep import run_sweep

        assert self.config is not None
        assert self.hydra_context is not None
        assert self.launcher is not None
        launcher = self.launcher
        return run_sweep(
            [*self._parse_config(), *arguments],
            master=self.config,
            context=self.hydra_context,
            launcher=launcher.workforce() if isinstance(launcher, PlannedLauncher) else launcher,
        )
