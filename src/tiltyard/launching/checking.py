"""Checks a single run's config before Hydra makes its output folder."""

from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from tiltyard.config import check
from tiltyard.errors import InputError


class CheckBeforeRun(Callback):
    """A Hydra callback that refuses wrong input before anything is written."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the composed config.

        Hydra turns a callback's exceptions into warnings, so the error travels as the code of a
        SystemExit; the command line unpacks it.
        """
        HydraConfig.instance().set_config(config)
        try:
            check(config)
        except InputError as error:
            raise SystemExit(error) from error
