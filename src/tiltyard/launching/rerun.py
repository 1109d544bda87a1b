"""``tiltyard rerun``: runs a past run's stored config again, and compares both example by example.

$ tiltyard rerun 5f0c limit=50 --check
"""

import argparse
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiltyard.arguments import CommandParser
from tiltyard.config import ExperimentConfig, instantiate
from tiltyard.errors import InputError, TiltyardError
from tiltyard.launching.checking import refuse_what_is_for_sweeps
from tiltyard.launching.stored_config import stored_config

if TYPE_CHECKING:
    from tiltyard.reporting.one_run import OneRun
    from tiltyard.tracking.recorder import Tracking

RERUN_OF = "tiltyard.rerun_of"
"""The tag of a rerun that says which run it repeats, by its id, or by its folder where it is not tracked."""
SETTINGS = ("resume=false", "retry=null", "plan=false", "timeout=null")
"""What a rerun sets before any override: nothing that was kept stands in for doing it again."""
ASKED_ANEW = "cache.enabled=false"
"""What it sets beside that, unless kept answers are asked for: they would say nothing of the model."""


@dataclass(frozen=True)
class _Source:
    """The run that is repeated."""

    run: "OneRun"
    config: str
    """The text of its ``config.yaml``."""
    tracking: Mapping[str, Any] | None
    """The node of the store that it is in; None for a run that is not tracked."""

    @property
    def called(self) -> str:
        """What messages call it."""
        return f"run {self.run.run_id or self.run.given}"


def rerun(arguments: list[str]) -> None:
    """Run the command.

    Args:
        arguments: The command line after ``tiltyard rerun``.

    Raises:
        InputError: There is no such run, its config cannot be run, or an argument is wrong.
        JobError: The rerun failed, or a store did. What the rerun has answered until then is compared.
        CheckFailedError: ``--check`` was given, and an example is not answered as before.
    """
    chosen = _parser().parse_intermixed_args(arguments)
    if chosen.run is None:
        raise InputError("tiltyard rerun: no run is named", "tiltyard rerun RUN_ID [KEY=VALUE ...]")
    source = _source(chosen)
    if chosen.check and (source.run.rows is None or source.run.rows.empty):
        raise InputError(f"{source.called} has no rows to check against", "leave out --check")
    placement = [word for word in chosen.overrides if word.startswith("hydra.")]
    overrides = [word for word in chosen.overrides if word not in placement]
    cfg = stored_config(
        source.config,
        source.called,
        overrides=overrides,
        settings=[*SETTINGS, *([] if chosen.cached else [ASKED_ANEW])],
        tracking=source.tracking,
    )
    refuse_what_is_for_sweeps(cfg)
    folder, failure = _run(cfg, source, placement, overrides, _command(chosen, source, overrides))
    if failure is None or _has_rows(folder):
        _compare(source, cfg, folder, check=chosen.check and failure is None)
    if failure is not None:
        raise failure


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="tiltyard rerun",
        usage="tiltyard rerun RUN_ID [KEY=VALUE ...] [--tracking FOLDER|URI] [--experiment NAME] [--cached] "
        "[--check]",
        description="Run the stored config of a past run again, and compare both example by example. The "
        "model is asked anew and the program compiled again.",
        epilog="Writes compare.md, and compare.csv with every example that is not answered as before, into "
        "the rerun's folder.",
    )
    parser.add_argument(
        "run", nargs="?", metavar="RUN_ID", help="a run id, the beginning of one, or a run's folder"
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="changes to the stored config, such as limit=50; ~KEY drops a key. hydra.run.dir=DIR chooses "
        "the folder",
    )
    parser.add_argument(
        "--tracking",
        default="mlruns",
        metavar="FOLDER|URI",
        help="the store that the run is in, and the rerun goes to: a folder, or a server's http(s) address "
        "(default: %(default)s)",
    )
    parser.add_argument("--experiment", default="tiltyard", metavar="NAME", help="default: %(default)s")
    parser.add_argument(
        "--cached",
        action="store_true",
        help="take answers from the response cache, as the run itself would: shows what else has changed",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="exit code 1 when an example is not answered as before (docs/comparing-runs.md)",
    )
    return parser


def _source(chosen: argparse.Namespace) -> _Source:
    from tiltyard.reporting.one_run import CONFIG_FILE, find_run, one_run, tracked_run
    from tiltyard.reporting.selection import tracking_at

    if "=" in chosen.run and not Path(chosen.run).exists():
        raise InputError(f"'{chosen.run}' is no run", "name the run first: tiltyard rerun RUN_ID KEY=VALUE")
    store = tracking_at(chosen.tracking)
    if Path(chosen.run).exists() or "/" in chosen.run:
        run = find_run(chosen.run, store, experiment=chosen.experiment)
        config = (Path(chosen.run) / CONFIG_FILE).read_text(encoding="utf-8")
        return _Source(run, config, _node(store, chosen.experiment) if run.run_id else None)
    tracked = tracked_run(chosen.run, store, chosen.experiment)
    text = tracked.text(CONFIG_FILE)
    if text is None:
        command = tracked.tags.get("tiltyard.command", "")
        raise InputError(
            f"run {tracked.name} ({tracked.run_id}) has no {CONFIG_FILE}: its process was killed",
            f"start it anew: {command}" if command else "start it anew",
        )
    return _Source(one_run(chosen.run, tracked), text, _node(store, chosen.experiment))


def _node(store: "Tracking", experiment: str) -> dict[str, Any]:
    """The option of the ``tracking`` group that records in a store."""
    target = {"_target_": f"{type(store).__module__}.{type(store).__name__}", "experiment": experiment}
    places = {name: str(getattr(store, name)) for name in ("folder", "uri") if hasattr(store, name)}
    return {**target, **places}


def _command(chosen: argparse.Namespace, source: _Source, overrides: Sequence[str]) -> str:
    places = [
        word
        for name, default in (("tracking", "mlruns"), ("experiment", "tiltyard"))
        if (value := getattr(chosen, name)) != default
        for word in (f"--{name}", value)
    ]
    named = source.run.run_id or source.run.given
    return shlex.join(["tiltyard", "rerun", named, *overrides, *places, *["--cached"] * chosen.cached])


def _announce(source: _Source, cfg: ExperimentConfig, overrides: Sequence[str]) -> None:
    from tiltyard.reporting.console import show, text

    asked = "answers may come from the response cache" if cfg.cache.enabled else f"asked anew ({ASKED_ANEW})"
    compiled = "" if cfg.resume else ", compiled again (resume=false)"
    changed = f", with {' '.join(overrides)}" if overrides else ""
    show(text(f"rerun of {source.run.name}, {source.called}: {asked}{compiled}{changed}", "dim"))


def _run(
    cfg: ExperimentConfig, source: _Source, placement: Sequence[str], overrides: Sequence[str], command: str
) -> tuple[Path, TiltyardError | None]:
    """Run the config in a folder of its own; the folder, and why it failed where it did."""
    from tiltyard.experiment import run
    from tiltyard.launching.job import end_on_sigterm, failure_of, set_up_logging
    from tiltyard.tracking.references import without_references

    pins = dict(_pins(source.run))
    with without_references(cfg, pins):  # what is wrong with them is told before there is a folder
        pass
    end_on_sigterm()
    folder = _make_folder(placement)
    _announce(source, cfg, overrides)
    set_up_logging(cfg.debug)
    try:
        run(
            cfg,
            folder,
            command=command,
            overrides=tuple(overrides),
            pins=pins,
            tags={RERUN_OF: source.run.run_id or str(Path(source.run.given).resolve())},
        )
    except Exception as error:
        failure = failure_of(cfg, folder, error)
        failure.__cause__ = error
        return folder, failure
    return folder, None


def _pins(run: "OneRun") -> Iterator[tuple[str, str]]:
    """The versions that the run's references to registered programs meant then."""
    from tiltyard.optimizers.registered import is_reference

    for name, value in run.params.items():
        if is_reference(value) and is_reference(run.tags.get(f"tiltyard.{name}")):
            yield value, run.tags[f"tiltyard.{name}"]


def _make_folder(placement: Sequence[str]) -> Path:
    """The folder and the log that Hydra would make for a single run."""
    from hydra import compose, initialize_config_dir
    from hydra.core.utils import configure_log
    from omegaconf import open_dict

    from tiltyard.shipped import config_folder

    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        composed = compose("config", overrides=list(placement), return_hydra_config=True)
    folder = Path.cwd() / str(composed.hydra.run.dir)
    folder.mkdir(parents=True, exist_ok=True)
    with open_dict(composed):
        composed.hydra.runtime.output_dir = str(folder)
    configure_log(composed.hydra.job_logging, composed.hydra.verbose)
    return folder


def _has_rows(folder: Path) -> bool:
    from tiltyard.tracking.reader import ROWS

    return (folder / ROWS).is_file()


def _compare(source: _Source, cfg: ExperimentConfig, folder: Path, *, check: bool) -> None:
    from tiltyard.reporting.gate import CheckFailedError
    from tiltyard.reporting.numbers import counted
    from tiltyard.reporting.one_run import find_run
    from tiltyard.reporting.reproduction import reproduction
    from tiltyard.reporting.side_by_side_report import FLIPS, Examples, show_side_by_side
    from tiltyard.reporting.terminal import shown_path

    tracking: Tracking = instantiate(cfg.tracking)
    again = find_run(str(folder), tracking, experiment=tracking.experiment)
    found = reproduction(source.run, again)
    examples = Examples("answers", found.counted, found.changes, found.remarks)
    show_side_by_side(found.runs, folder, examples)
    if not check:
        return
    if found.unrepeated:
        raise CheckFailedError(
            f"{counted(len(found.unrepeated), 'example')} not answered as in {source.called}",
            f"{shown_path(folder / FLIPS)} has them",
        )
    if not found.comparable:
        raise InputError(
            f"the rerun shares no example with {source.called}, so nothing was checked",
            "leave out overrides that choose other examples",
        )
