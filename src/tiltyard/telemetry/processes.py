"""Which process works on something, as tags of a run for example, and whether it still lives.

>>> me = this_process()
>>> seen(me.tags())
<Sight.ALIVE: 'alive'>

A process number alone says little: numbers are given again, and containers have numbers of their own. So a
process is its machine since it was started, the process numbers' namespace on it, its number there, and when
it was started.
"""

import os
import platform
import socket
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Self

HOST = "tiltyard.host"
"""The tag with the name of the machine, for people."""
MACHINE = "tiltyard.machine"
"""The tag that tells machines, their restarts and the containers on them apart."""
PID = "tiltyard.pid"
"""The tag with the process's number."""
BEGAN = "tiltyard.process_start"
"""The tag with the time of its start, as the system counts: it tells processes with one number apart."""

PROC = Path("/proc")
"""Where Linux shows processes."""


class Sight(Enum):
    """What can be seen of a process from here."""

    ALIVE = "alive"
    GONE = "gone"
    UNKNOWN = "unknown"
    """It is, or was, where this process cannot look: on another machine, in another container, or on this
    machine before it was started again."""


@dataclass(frozen=True)
class ProcessIdentity:
    """A process that cannot be taken for another one."""

    host: str
    machine: str
    pid: int
    began: str

    def tags(self) -> dict[str, str]:
        """The identity as tags of a run."""
        return {HOST: self.host, MACHINE: self.machine, PID: str(self.pid), BEGAN: self.began}

    def seen(self) -> Sight:
        """What can be seen of it from here; GONE is certain, also for a process that another user started."""
        if not self.machine or not self.began:
            return Sight.UNKNOWN
        if (self.host, self.machine) != (socket.gethostname(), _machine()):
            return Sight.UNKNOWN
        try:
            began = _start_of(self.pid)
        except OSError:
            return Sight.UNKNOWN
        return Sight.ALIVE if began == self.began else Sight.GONE

    @classmethod
    def of_tags(cls, tags: Mapping[str, str]) -> Self | None:
        """The identity in a run's tags; None where they hold none."""
        try:
            return cls(tags[HOST], tags[MACHINE], int(tags[PID]), tags[BEGAN])
        except (KeyError, ValueError):
            return None


def this_process() -> ProcessIdentity:
    """The identity of this process; a fork has its own."""
    pid = os.getpid()
    try:
        began = _start_of(pid)
    except OSError:
        began = None
    return ProcessIdentity(socket.gethostname(), _machine(), pid, began or "")


def seen(tags: Mapping[str, str]) -> Sight:
    """What can be seen from here of the process that a run's tags name."""
    process = ProcessIdentity.of_tags(tags)
    return Sight.UNKNOWN if process is None else process.seen()


@cache
def _machine() -> str:
    """Differs between machines, between starts of one, and between containers that cannot see each other.

    A virtual machine that was copied while it ran shares it with the copy; the host's name tells those apart.
    Empty where the system does not say.
    """
    if sys.platform != "linux":
        return f"{platform.system()}/{uuid.getnode():012x}"
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{(PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _start_of(pid: int) -> str | None:
    """When a process was started; None where there is none, or it is dead and waits to be collected.

    Raises:
        OSError: There is one, and the system does not show it.
    """
    if sys.platform != "linux":
        return _start_by_psutil(pid)
    # psutil adds the time at which the machine was started, which moves when the clock is set.
    try:
        stat = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        _refuse_if_hidden(pid)
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]


def _refuse_if_hidden(pid: int) -> None:
    """Raise a PermissionError where a process exists that ``/proc`` keeps from other users (``hidepid``)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return
    raise PermissionError(f"process {pid} is hidden")


def _start_by_psutil(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.3f}"
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied as error:
        raise PermissionError(f"process {pid} is hidden") from error
