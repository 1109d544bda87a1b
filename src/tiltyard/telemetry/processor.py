"""Says what processor a run is on: another one can round otherwise, and so answer otherwise.

>>> processor()
'Linux x86_64, AMD EPYC 7B13, 2 cores'
"""

import os
import platform
from functools import cache
from pathlib import Path

_CPUS = Path("/proc/cpuinfo")
"""Where Linux says which processor it is; ``platform`` does not know there."""


@cache
def processor() -> str:
    """The operating system, the kind of processor, and how many cores; no name or address."""
    model = _model_name() or platform.processor()
    named = [model] if model and model != platform.machine() else []
    return ", ".join([f"{platform.system()} {platform.machine()}", *named, f"{os.cpu_count()} cores"])


def _model_name() -> str:
    try:
        lines = _CPUS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
