"""Finds the one run that a user names: by its id, the beginning of its id, or its folder.

>>> run = find_run("5f0c", LocalTracking(), experiment="tiltyard")
>>> run.name, run.metrics["score"], len(run.rows)
('iot_tiny/lexical/bootstrap/s0', 1.0, 5)
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tiltyard.errors import InputError
from tiltyard.result import RESULT_FILE, ExperimentResult

if TYPE_CHECKING:
    import pandas as pd

    from tiltyard.tracking.reader import TrackedRun
    from tiltyard.tracking.recorder import Tracking

EVERY_STATUS = ("FINISHED", "FAILED", "KILLED", "RUNNING")
CONFIG_FILE = "config.yaml"
SWEEP_FILE = "sweep.json"
METADATA_FILE = "program/metadata.json"
PACKAGE = "tiltyard.package."
"""How the tags begin that say which version of a package a run had."""
SHORT = 8
"""Characters of a run id that are shown."""


@dataclass(frozen=True)
class OneRun:
    """A run, wherever it was read from."""

    given: str
    """What the user called it."""
    name: str
    """``TASK/MODEL/OPTIMIZER[/SIMULATION][/validation]/sSEED``."""
    run_id: str
    """MLflow's id; empty for a run that is not tracked."""
    status: str
    """As in MLflow; ``FAILED`` or ``FINISHED`` for a folder."""
    params: Mapping[str, str]
    """The config, flattened with dots."""
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    """Its ``tiltyard.`` tags, as far as they are known: versions, git commit, fingerprint."""
    rows: "pd.DataFrame | None"
    """The rows that its score is of; None where there are none."""
    without_rows: str = ""
    """Why there are no rows, in one line."""

    @property
    def short(self) -> str:
        """What a table calls it: the beginning of its id, else the name of its folder."""
        return self.run_id[:SHORT] or Path(self.given).resolve().name


def find_run(given: str, tracking: "Tracking", *, experiment: str) -> OneRun:
    """Find a run.

    A folder needs no store: it is read from its own files. Where the store has the run too, it tells what
    the files do not, such as the git commit.

    Args:
        given: A run id, the beginning of one that no other run's id has, or a run's folder.
        tracking: Where tracked runs are looked for.
        experiment: The MLflow experiment in which they are looked for.

    Raises:
        InputError: There is no such run, or several.
        JobError: The store failed.
    """
    if given and Path(given).is_dir():
        return _of_folder(given, tracking, experiment)
    if "/" in given or "\\" in given or Path(given).is_file():
        raise InputError(f"{given} is not a run's folder", "name the folder of a run, or a run id")
    return one_run(given, tracked_run(given, tracking, experiment))


def tracked_run(beginning: str, tracking: "Tracking", experiment: str) -> "TrackedRun":
    """The tracked run whose id begins so, whatever its status; see :func:`find_run`.

    Raises:
        InputError: There is no such run, or several, or it is a sweep.
        JobError: The store failed.
    """
    from tiltyard.tracking.reader import runs

    everyone = runs(tracking, experiment=experiment, statuses=EVERY_STATUS)
    found = [run for run in everyone if run.run_id.startswith(beginning.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"{len(found)} runs have an id that begins with '{beginning}'",
            f"write more of it: {_listed(found)}",
        )
    jobs = [run for run in everyone if (run.parent or "").startswith(beginning.lower())]
    if jobs:
        raise InputError(
            f"run {jobs[0].parent} is the sweep {jobs[0].sweep}", f"name one of its runs: {_listed(jobs)}"
        )
    raise InputError(
        f"no run of experiment '{experiment}' has an id that begins with '{beginning}', and no folder is "
        "called so",
        f"the last runs there: {_listed(everyone[::-1])}",
    )


def _listed(runs: "Sequence[TrackedRun]", limit: int = 4) -> str:
    shown = [f"{run.run_id} ({run.name})" for run in runs[:limit]]
    return ", ".join([*shown, *(["…"] if len(runs) > limit else [])]) or "none"


def one_run(given: str, run: "TrackedRun") -> OneRun:
    """A tracked run with its rows.

    Raises:
        JobError: The store failed.
    """
    rows, without_rows = None, ""
    try:
        rows = run.rows()
    except InputError as error:
        without_rows = error.what
    tags = _versions(run.text(METADATA_FILE) or "") | _own_tags(run)
    facts = (given, run.name, run.run_id, run.status, run.params, run.metrics, tags)
    return OneRun(*facts, rows, without_rows)


def _own_tags(run: "TrackedRun") -> dict[str, str]:
    return {name: value for name, value in run.tags.items() if name.startswith("tiltyard.")}


def _of_folder(given: str, tracking: "Tracking", experiment: str) -> OneRun:
    from tiltyard.evaluation.rows import COLUMNS, read_rows, rows_of_the_score
    from tiltyard.tracking.reader import ROWS

    folder = Path(given)
    result = _result(folder)
    rows, without_rows = None, ""
    try:
        found = read_rows(folder / ROWS)
        if lacking := [column for column in COLUMNS if column not in found]:
            raise ValueError(f"it has no column {lacking[0]}")
        rows = rows_of_the_score(found, result.metrics)
    except (OSError, ValueError) as error:
        without_rows = f"{folder / ROWS} cannot be read ({error})"
    return OneRun(
        given,
        result.name,
        result.run_id or "",
        "FAILED" if result.error else "FINISHED",
        _params(folder / CONFIG_FILE),
        result.metrics,
        _tags(result, folder) | _tags_in_store(result, tracking, experiment),
        rows,
        without_rows,
    )


def _result(folder: Path) -> ExperimentResult:
    try:
        return ExperimentResult.load(folder)
    except OSError as error:
        if (folder / SWEEP_FILE).is_file():
            jobs = sorted(path.parent.name for path in folder.glob(f"*/{RESULT_FILE}"))
            raise InputError(
                f"{folder} is the folder of a sweep",
                f"name one of its runs: {', '.join(jobs) or 'none there'}",
            ) from error
        raise InputError(
            f"{folder} has no {RESULT_FILE}: it is not the folder of a run that came to its end",
            "name the folder of a run, or a run id",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / RESULT_FILE} is damaged ({error})", "name another run") from error


def _params(config: Path) -> dict[str, str]:
    from tiltyard.tracking.params import flatten

    try:
        return flatten(yaml.safe_load(config.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError) as error:
        raise InputError(f"{config} cannot be read ({type(error).__name__})", "name another run") from error


def _tags(result: ExperimentResult, folder: Path) -> dict[str, str]:
    """What the folder's files know of a run's tags."""
    tags = {
        "tiltyard.fingerprint": result.fingerprint,
        **{f"tiltyard.{axis}": getattr(result.labels, axis) for axis in ("task", "model", "optimizer")},
        "tiltyard.simulation": result.labels.simulation,
        "tiltyard.split": result.split,
        "tiltyard.mode": result.labels.mode,
    }
    with suppress(OSError):  # a run whose program was not saved has none
        tags |= _versions((folder / METADATA_FILE).read_text(encoding="utf-8"))
    return tags


def _versions(metadata: str) -> dict[str, str]:
    """The tags of the versions that a saved program's metadata tell; none where it cannot be read."""
    try:
        versions = dict(json.loads(metadata)["versions"])
    except (ValueError, KeyError, TypeError):
        return {}
    return {f"{PACKAGE}{name}": str(value) for name, value in versions.items()}


def _tags_in_store(result: ExperimentResult, tracking: "Tracking", experiment: str) -> dict[str, str]:
    if not result.run_id:
        return {}
    try:
        return _own_tags(tracked_run(result.run_id, tracking, experiment))
    except InputError:  # the folder was sent here without its store
        return {}
