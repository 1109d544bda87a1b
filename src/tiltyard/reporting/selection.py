"""Chooses the tracked runs that a report is about, by the options of ``tiltyard report``.

>>> chosen = parser.parse_args(["--sweep", "latest", "--tag", "tiltyard.task=iot_tiny"])
>>> tracked = select(chosen)
>>> described(chosen, tracked.finished)
'experiment tiltyard of mlruns, sweep 2026-11-20_18-00-00, tag tiltyard.task=iot_tiny'
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tiltyard.errors import InputError
from tiltyard.redaction import redact

if TYPE_CHECKING:
    from tiltyard.tracking.reader import TrackedRun
    from tiltyard.tracking.recorder import Tracking

LATEST = "latest"
TAG = "tiltyard."
"""How the names of Tiltyard's own tags begin; ``--tag`` takes them without it too."""
STATUSES = ("FINISHED", "FAILED", "KILLED", "RUNNING")


@dataclass(frozen=True)
class Selected:
    """The runs that the options ask for, oldest first."""

    finished: "list[TrackedRun]"
    """At least one."""
    failed: "list[TrackedRun]"
    """Those that ended otherwise and were not repeated with success."""
    unended: "list[TrackedRun]" = field(default_factory=list)
    """Those that still run, or whose process was killed, and that were not repeated with success."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose runs."""
    parser.add_argument(
        "--tracking",
        default="mlruns",
        metavar="FOLDER|URI",
        help="the store: a folder, or a server's http(s) address (default: %(default)s)",
    )
    parser.add_argument("--experiment", default="tiltyard", metavar="NAME", help="default: %(default)s")
    parser.add_argument("--sweep", metavar="ID", help="only this sweep's runs; 'latest' is the last one")
    parser.add_argument("--task", metavar="NAMES", help="only these tasks")
    parser.add_argument("--model", metavar="NAMES", help="only these models")
    parser.add_argument(
        "--tag",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="only runs with this tag, such as mode=ace or version=0.5.0; may be repeated",
    )
    parser.add_argument(
        "--filter",
        metavar="TEXT",
        default="",
        help='only runs that MLflow\'s search finds by this filter, such as "metrics.score > 0.5"',
    )


def select(chosen: argparse.Namespace) -> Selected:
    """The runs that the options ask for; each option narrows what the ones before it left.

    Raises:
        InputError: There is no store, no finished run fits, or an option is wrong.
        JobError: The store failed.
    """
    from tiltyard.tracking.reader import runs

    tracked = runs(
        tracking_at(chosen.tracking), experiment=chosen.experiment, statuses=STATUSES, filter=chosen.filter
    )
    if not any(run.status == "FINISHED" for run in tracked):
        among = f' that --filter "{chosen.filter}" finds' if chosen.filter else ""
        raise InputError(
            f"no finished run in experiment '{chosen.experiment}' of {chosen.tracking}{among}",
            "loosen the filter" if chosen.filter else "run one first: tiltyard",
        )
    narrowed = _narrowed(tracked, chosen)
    finished = [run for run in narrowed if run.status == "FINISHED"]
    if not finished:
        raise InputError("no finished run fits all of these options together", "leave one option out")
    succeeded = {run.fingerprint for run in finished if run.fingerprint}
    others = [run for run in narrowed if run.status != "FINISHED" and run.fingerprint not in succeeded]
    return Selected(
        finished,
        failed=[run for run in others if run.status != "RUNNING"],
        unended=[run for run in others if run.status == "RUNNING"],
    )


def tracking_at(place: str) -> "Tracking":
    """The store that ``--tracking`` names.

    Raises:
        InputError: It is no folder and no http address.
    """
    from tiltyard.tracking.recorder import LocalTracking, ServerTracking

    if place.lower().startswith(("http://", "https://")):
        return ServerTracking(uri=place)
    if "://" in place:
        raise InputError(
            f"--tracking {place} is no folder and no http address", "name the folder or the server"
        )
    return LocalTracking(folder=place)


def _narrowed(tracked: "list[TrackedRun]", chosen: argparse.Namespace) -> "list[TrackedRun]":
    finished = [run for run in tracked if run.status == "FINISHED"]
    if chosen.sweep:
        sweeps = list(dict.fromkeys(run.sweep for run in finished if run.sweep))  # oldest first
        wanted = _latest(tracked) if chosen.sweep == LATEST else chosen.sweep
        if wanted not in sweeps:
            raise InputError(f"no finished run of sweep '{wanted}'", there_are("sweeps", sweeps[::-1]))
        tracked = [run for run in tracked if run.sweep == wanted]
    for axis in ("task", "model"):
        names = _names(getattr(chosen, axis))
        there = sorted({str(getattr(run, axis)) for run in tracked if run.status == "FINISHED"})
        for name in names:
            if name not in there:
                raise InputError(f"no finished run of {axis} '{name}'", there_are(f"{axis}s", there))
        tracked = [run for run in tracked if not names or getattr(run, axis) in names]
    for option in chosen.tag:
        key, equals, value = option.partition("=")
        if not (key and equals):
            raise InputError(f"--tag {option} has no value", "write it as --tag key=value")
        values = {_tag(run, key) for run in tracked if run.status == "FINISHED"} - {None}
        if value not in values:
            raise InputError(
                f"no finished run has the tag {key}={value}",
                there_are(f"values of {key}", sorted(map(str, values))),
            )
        tracked = [run for run in tracked if _tag(run, key) == value]
    return tracked


def _latest(tracked: "Sequence[TrackedRun]") -> str:
    """The sweep that started last, even if none of its runs finished: an older one is not what is meant."""
    sweeps = list(dict.fromkeys(run.sweep for run in tracked if run.sweep))  # by their first run
    return sweeps[-1] if sweeps else LATEST


def _tag(run: "TrackedRun", key: str) -> str | None:
    return run.tags.get(key, run.tags.get(TAG + key))


def _names(option: str | None) -> list[str]:
    return [name.strip() for name in (option or "").split(",") if name.strip()]


def there_are(what: str, names: Sequence[str], limit: int = 8) -> str:
    """What a user could have named instead, for an error's remedy."""
    shown = ", ".join(names[:limit]) + (", …" if len(names) > limit else "")
    return f"{what} there: {shown or 'none'}"


def described(chosen: argparse.Namespace, finished: "Sequence[TrackedRun]") -> str:
    """Where the runs of a report are from, for its heading."""
    sweep = [f"sweep {finished[0].sweep}"] if chosen.sweep else []
    options = [f"{axis} {getattr(chosen, axis)}" for axis in ("task", "model") if getattr(chosen, axis)]
    tags = [f"tag {tag}" for tag in chosen.tag]
    by_filter = [f"filter {chosen.filter}"] if chosen.filter else []
    store = f"experiment {chosen.experiment} of {chosen.tracking}"
    return redact(", ".join([store, *sweep, *options, *tags, *by_filter]))  # an address may hold a password
