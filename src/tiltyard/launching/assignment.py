"""A sweep's job as it travels to the process that runs it, maybe on another machine.

>>> assignment = assign(planned, composer, master)
>>> assignment.carry_out()      # there
''
"""

import json
import os
import pickle
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, open_dict

from tiltyard.config import ExperimentConfig, nested_models
from tiltyard.errors import TiltyardError
from tiltyard.files import write_text
from tiltyard.redaction import one_line
from tiltyard.result import TRACEBACK_FILE, run_name
from tiltyard.telemetry.activity import recording_activity

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader

    from tiltyard.launching.plan import PlannedJob

INTERRUPTED = "interrupted"
"""Why a job was broken off that was told to stop."""


@dataclass(frozen=True)
class Assignment:
    """One job, with all that its process has to know."""

    number: int
    """The job's number in the sweep."""
    name: str
    """The name of its run."""
    folder: Path
    """Where the job writes its files; the sweep reads them there."""
    loads: str
    """Equal for jobs that load the same models onto the same hardware."""
    timeout: float | None
    """Seconds after which the job is ended as hanging; None lets it take its time."""
    config: bytes
    """The composed config, Hydra's part included, pickled: what was checked when the sweep was planned."""
    sys_path: tuple[str, ...]
    """Where the sweep's process finds modules: a user's own classes may lie in its working directory."""
    working_directory: str
    """What the config's relative paths are relative to."""

    def carry_out(self) -> str:
        """Run the job in this process, and leave what it found, or why it failed, in its folder.

        Returns:
            Why the job was broken off; nothing where it ended by itself.
        """
        sys.path.extend(path for path in self.sys_path if path not in sys.path)
        os.chdir(self.working_directory)
        with recording_activity(self.folder):
            try:
                _run_as_hydra_would(pickle.loads(self.config))
            except KeyboardInterrupt:
                return INTERRUPTED
            except BaseException as error:  # raised before the job could write down its failure itself
                return self._explain(error)
        return ""

    def _explain(self, error: BaseException) -> str:
        if isinstance(error, TiltyardError):
            return str(error)
        write_text(self.folder / TRACEBACK_FILE, "".join(traceback.format_exception(error)))
        called = f"something called sys.exit({error.code})" if isinstance(error, SystemExit) else None
        return f"{called or one_line(error)}; see {self.folder / TRACEBACK_FILE}"


def assign(job: "PlannedJob", composer: "ConfigLoader", master: DictConfig) -> Assignment:
    """Pack a job for its way.

    Args:
        job: The job.
        composer: Gives the config that was checked when the sweep was planned.
        master: The sweep's own composed config.
    """
    cfg = composer.load_sweep_config(master, job.overrides)
    with open_dict(cfg):
        cfg.hydra.job.id = str(job.number)
        cfg.hydra.job.num = job.number
        # Settled here: they may hold the time at which the sweep began.
        cfg.hydra.sweep.dir = str(Path(str(master.hydra.sweep.dir)).absolute())
        cfg.hydra.sweep.subdir = os.path.relpath(job.folder, cfg.hydra.sweep.dir)
    return Assignment(
        number=job.number,
        name=run_name(job.experiment),
        folder=job.folder,
        loads=_loads(job.experiment),
        timeout=job.experiment.timeout,
        config=pickle.dumps(cfg),
        sys_path=tuple(sys.path),
        working_directory=str(Path.cwd()),
    )


def _loads(experiment: ExperimentConfig) -> str:
    nodes: list[Any] = [experiment.hardware, experiment.model, *nested_models(experiment).values()]
    return json.dumps(nodes, sort_keys=True, default=str)


def _run_as_hydra_would(cfg: DictConfig) -> None:
    """Run the task function in the state that Hydra's own launchers set up around it."""
    from hydra import version
    from hydra._internal.callbacks import Callbacks
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.plugins import Plugins
    from hydra.core.utils import JobRuntime, run_job, setup_globals
    from hydra.types import HydraContext

    from tiltyard.launching.task_function import job

    version.setbase(cfg.hydra.runtime.version_base)
    Plugins.instance()  # finds the kinds of config sources
    setup_globals()
    HydraConfig.instance().set_config(cfg)
    JobRuntime.instance().set("name", cfg.hydra.job.name)
    sources = ConfigSearchPathImpl()
    for source in cfg.hydra.runtime.config_sources:
        sources.append(provider=source.provider, path=f"{source.schema}://{source.path}")
    context = HydraContext(ConfigLoaderImpl(sources), Callbacks(cfg))
    run_job(job, cfg, "hydra.sweep.dir", "hydra.sweep.subdir", context).return_value  # noqa: B018 - raises
