"""Connects a sweep to a Ray cluster, or says soon why it cannot.

>>> with connected("10.0.0.5:6379"):
...     ray.nodes()
"""

import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tiltyard.errors import InputError
from tiltyard.redaction import one_line

LOCAL = "local"
"""The address of a cluster of one machine that ends with the sweep."""
AUTO = "auto"
"""The address that Ray finds: ``$RAY_ADDRESS``, else that of the cluster which runs on this machine."""
CONNECT_SECONDS = 5.0
"""How long a cluster's head may take to accept a connection; Ray itself would wait for minutes."""


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Be connected to a cluster while a block runs; what was started for it ends with the block.

    Args:
        address: ``HOST:PORT``, ``auto`` or ``local``.

    Raises:
        InputError: There is no cluster at the address, this machine is not part of it, or it runs other
            versions of Ray or Python.
    """
    import ray

    if address != LOCAL:
        _refuse_client(address)
        _knock(address)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address,
            include_dashboard=False if address == LOCAL else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:  # of many kinds, from Ray's connection as from its start
        raise InputError(
            f"cannot connect to a Ray cluster (hydra.launcher.address={address}): {one_line(error)}",
            "run `ray start --head` first, start the sweep on a machine of the cluster, "
            "or use hydra.launcher.address=local",
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray has put its own there
    try:
        yield
    finally:
        ray.shutdown()


def _refuse_client(address: str) -> None:
    if "://" in address or "://" in os.environ.get("RAY_ADDRESS", ""):
        raise InputError(
            "Ray's client (ray://) would not end the jobs with the sweep",
            "start the sweep on a machine of the cluster, by hand or with `ray job submit`",
        )


def _knock(address: str) -> None:
    """Refuse an address where nothing listens."""
    found = _found() if address == AUTO else address
    if found is None:  # Ray looks for a head among this machine's processes, which is quick
        return
    host, _, port = found.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS):
            pass
    except (OSError, ValueError) as error:
        reason = error.strerror or "timed out" if isinstance(error, OSError) else "it is not HOST:PORT"
        raise InputError(
            f"no Ray cluster answers at {found} ({reason})",
            "correct hydra.launcher.address, or run `ray start --head` there",
        ) from error


def _found() -> str | None:
    """The address that Ray takes for ``auto``, where it is written down."""
    if given := os.environ.get("RAY_ADDRESS"):
        return None if given in (AUTO, LOCAL) else given
    latest = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray/ray_current_cluster"
    try:
        return latest.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
