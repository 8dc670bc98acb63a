"""The machine that was measured on: what it is, with which versions, and how busy other processes kept it."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any

from app.answer.provenance import processor
from app.cpus import usable_cpus
from bench import ROOT

LIBRARIES = (
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "scipy",
    "scikit-image",
    "pillow",
    "histomicstk",
    "torch",
)


def provenance() -> dict[str, Any]:
    """Return the date, the commit, the machine and the versions of Python and the libraries."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _commit(),
        "machine": {
            "processor": processor(),
            "architecture": platform.machine(),
            "cores": usable_cpus(),
            "system": platform.system(),
        },
        "versions": {"python": platform.python_version(), **_versions()},
    }


class BackgroundLoad:
    """How busy all other processes keep the machine, from the moment when the object is created (proc(5), /proc/stat).

    This process and those of its children that have ended do not count.
    """

    def __init__(self) -> None:
        self._start = perf_counter()
        self._busy, self._own = _busy_seconds(), _own_seconds()

    def cores(self) -> float | None:
        """Return how many cores other processes kept busy on average until now; None where there is no /proc/stat."""
        busy = _busy_seconds()
        if busy is None or self._busy is None:
            return None
        background = (busy - self._busy) - (_own_seconds() - self._own)
        return max(0.0, background) / (perf_counter() - self._start)


def _busy_seconds() -> float | None:
    """Return the seconds that all cores together were neither idle nor waiting for disks since the machine started."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _commit() -> str | None:
    """Return the short hash, with "-dirty" when tracked files differ from it; None outside a clone."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
