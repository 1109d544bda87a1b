"""Hydra's door to Tiltyard's searches: ``tiltyard -m hydra/sweeper=optuna``."""

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

from hydra_plugins.tiltyard_launchers import PlannedLauncher


class OptunaSweeper(BasicSweeper):
    """Draws each trial from what the earlier ones found, with a sampler of Optuna's.

    Hydra imports this module at every start, so the work itself is imported when a search begins.

    Args:
        params: Overrides by their keys, as on the command line, which counts more.
        **options: See :class:`tiltyard.launching.searching.search.SearchOptions`.
    """

    def __init__(self, params: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(max_batch_size=None, params=params)

    def sweep(self, arguments: list[str]) -> Any:
        """Search the space that ``hydra.sweeper.params`` and the arguments span."""
        from tiltyard.errors import InputError

        assert self.config is not None
        assert self.hydra_context is not None
        assert self.launcher is not None
        try:
            from tiltyard.launching.searching.options import search_options
            from tiltyard.launching.searching.search import run_search
        except ImportError as error:
            if (error.name or "").partition(".")[0] != "optuna":
                raise
            raise InputError("a search needs Optuna", "pip install 'tiltyard[search]'") from error
        launcher = self.launcher
        return run_search(
            [*self._parse_config(), *arguments],
            search_options(self.config),
            master=self.config,
            context=self.hydra_context,
            launcher=launcher.workforce() if isinstance(launcher, PlannedLauncher) else launcher,
        )
