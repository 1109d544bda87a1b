"""Ends runs that a dead process or machine left RUNNING: as KILLED, with the reason in ``tiltyard.error``.

>>> for dead in end_dead_runs(LocalTracking()):
...     print(dead.name, dead.reason)
tatqa_tiny/lexical/none/s0 its process on node7 is gone

A run is dead when its process is surely gone. Where that cannot be seen, on another machine, it is when it
has given no sign of life for ten minutes. The run of a process that is seen to live is never ended.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from tiltyard.errors import JobError
from tiltyard.redaction import redact
from tiltyard.telemetry.processes import HOST, Sight, seen
from tiltyard.tracking.connection import Connection, StoreFailureError
from tiltyard.tracking.heartbeat import SILENT_AFTER_S
from tiltyard.tracking.params import TAG_LIMIT, shorten
from tiltyard.tracking.recorder import Tracking
from tiltyard.tracking.tags import DESCRIPTION, ERROR, HEARTBEAT, KIND, PARENT

logger = logging.getLogger(__name__)

WITHOUT_SIGN_S = 7 * 24 * 3600.0
"""How old a run without heartbeats, of an earlier Tiltyard, may get before it counts as dead."""
ORPHANS_S = 10.0
"""How long the jobs of a sweep whose process is gone get to notice it and end."""
LOOK_EVERY_S = 0.1
PAGE = 1000
"""Runs asked for at once."""
RUNNING = "RUNNING"


@dataclass(frozen=True)
class EndedRun:
    """A run that was found dead."""

    run_id: str
    name: str
    reason: str


def end_dead_runs(
    tracking: Tracking,
    *,
    clock: Callable[[], float] = time.time,
    wait: float = ORPHANS_S,
) -> list[EndedRun]:
    """End every dead run of the tracking's experiment, and say so in the log.

    Its end is when it was last known to live. Jobs that live while the process of their sweep is gone are
    waited for: they notice and end. Several processes may call this at the same time.

    Args:
        tracking: Where the runs are. A store is not made.
        clock: Seconds since 1970.
        wait: How long such jobs are waited for, in seconds.

    Returns:
        What was ended. A run that could not be is left for the next time, with a warning.

    Raises:
        InputError: The store cannot be used or does not answer, or the experiment was deleted.
        JobError: The runs could not be read.
    """
    if not tracking.exists():
        return []
    connection = tracking.connect(create=False)
    try:
        experiment_id = connection.experiment_id(tracking.experiment)
        running = [] if experiment_id is None else _running(connection, experiment_id)
    except StoreFailureError as failure:
        raise JobError(f"{connection.place}: could not read the runs ({failure})", "try again") from failure
    _wait_for_orphans(running, wait)
    ended = []
    for run in running:
        if _verdict(run, clock()) is None:
            continue
        try:
            dead = _end_if_dead(connection, run.info.run_id, clock)
        except StoreFailureError as failure:  # the run that is to come matters more
            logger.warning("Run %s (%s) stays RUNNING: %s", run.info.run_id, run.info.run_name, failure)
            continue
        if dead is not None:
            logger.info("Run %s (%s) ended as KILLED: %s", dead.run_id, dead.name, dead.reason)
            ended.append(dead)
    return ended


def end_run(tracking: Tracking, run_id: str, status: str, reason: str) -> str:
    """End a run now, for whoever has seen its process die.

    Args:
        tracking: Where the run is.
        run_id: The run.
        status: ``KILLED`` or ``FAILED``.
        reason: What goes into ``tiltyard.error``.

    Returns:
        The run's status now: one that has ended stays as it ended.

    Raises:
        InputError: The store cannot be used or does not answer.
        JobError: The store failed, or has no such run.
    """
    connection = tracking.connect(create=False)
    try:
        run = connection.call(lambda: connection.client.get_run(run_id))
        if run.info.status != RUNNING:
            if run.info.status == status and ERROR not in run.data.tags:  # told to end, it did not know why
                _explain(connection, run, status, reason)
            return str(run.info.status)
        _end(connection, run, status, reason, None)
    except StoreFailureError as failure:
        raise JobError(f"{connection.place}: could not end run {run_id} ({failure})") from failure
    return status


def _running(connection: Connection, experiment_id: str) -> list[Any]:
    """The experiment's RUNNING runs that Tiltyard made."""
    found: list[Any] = []
    token: str | None = None
    while True:
        page = connection.call(
            partial(
                connection.client.search_runs,
                [experiment_id],
                f"attributes.status = '{RUNNING}'",
                max_results=PAGE,
                page_token=token,
            )
        )
        found += [run for run in page if KIND in run.data.tags]
        token = page.token
        if not token:
            return found


def _wait_for_orphans(running: Sequence[Any], wait: float) -> None:
    """Wait until the living jobs of dead sweeps of this machine have ended, or will not."""
    dead = {run.info.run_id for run in running if seen(run.data.tags) is Sight.GONE}
    orphans = [run for run in running if run.data.tags.get(PARENT) in dead]
    deadline = time.monotonic() + wait
    while orphans := [run for run in orphans if seen(run.data.tags) is Sight.ALIVE]:
        if time.monotonic() >= deadline:
            for run in orphans:
                logger.warning(
                    "Run %s (%s) goes on without its sweep's process",
                    run.info.run_id,
                    run.info.run_name,
                )
            return
        time.sleep(LOOK_EVERY_S)


def _end_if_dead(connection: Connection, run_id: str, clock: Callable[[], float]) -> EndedRun | None:
    """Judge a run again as it is now: after the search, it may have ended well before its process did."""
    run = connection.call(lambda: connection.client.get_run(run_id))
    reason = _verdict(run, clock()) if run.info.status == RUNNING else None
    if reason is None:
        return None
    _end(connection, run, "KILLED", reason, _last_sign(run))
    return EndedRun(run_id, run.info.run_name, reason)


def _verdict(run: Any, now: float) -> str | None:
    """Why a run counts as dead; None while it does not."""
    tags = run.data.tags
    sight = seen(tags)
    if sight is Sight.ALIVE:
        return None
    host = tags.get(HOST, "an unknown host")
    if sight is Sight.GONE:
        return f"its process on {host} is gone"
    last = _last_sign(run)
    if now - last <= (SILENT_AFTER_S if HEARTBEAT in tags else WITHOUT_SIGN_S):
        return None
    return f"no sign of life from {host} since {datetime.fromtimestamp(last, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _last_sign(run: Any) -> float:
    """When a run was last known to live, in seconds since 1970: at its heartbeat, or its start."""
    started: float = run.info.start_time / 1000
    try:
        return max(started, float(run.data.tags[HEARTBEAT]))
    except (KeyError, ValueError):
        return started


def _end(connection: Connection, run: Any, status: str, reason: str, ended: float | None) -> None:
    """End a run at a time in seconds since 1970, or now."""
    at = None if ended is None else int(ended * 1000)
    _explain(connection, run, status, reason)
    connection.call(lambda: connection.client.set_terminated(run.info.run_id, status, end_time=at))


def _explain(connection: Connection, run: Any, status: str, reason: str) -> None:
    """Leave the reason in the run's tag, and above what its description has said so far."""
    from mlflow.entities import RunTag

    said = run.data.tags.get(DESCRIPTION, "")
    description = f"**{status.capitalize()}:** {reason}" + (f"\n\n{said}" if said else "")
    tags = [
        RunTag(name, shorten(redact(value), TAG_LIMIT))
        for name, value in {ERROR: reason, DESCRIPTION: description}.items()
    ]
    connection.call(lambda: connection.client.log_batch(run.info.run_id, tags=tags))
