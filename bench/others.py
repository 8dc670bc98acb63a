"""What other processes took of the machine while something was measured (proc(5), /proc/stat)."""

from __future__ import annotations

import os
from pathlib import Path
from time import perf_counter


class Others:
    """Watches from when it is made; what this process and its ended children took is not others'."""

    def __init__(self) -> None:
        self._start = perf_counter()
        self._busy, self._own = _busy_seconds(), _own_seconds()

    def cores(self) -> float | None:
        """How many cores others kept busy on average until now; None where there is no /proc/stat."""
        busy = _busy_seconds()
        if busy is None or self._busy is None:
            return None
        theirs = (busy - self._busy) - (_own_seconds() - self._own)
        return max(0.0, theirs) / (perf_counter() - self._start)


def _busy_seconds() -> float | None:
    """Of all cores together since the machine was started: all but idleness and waiting for disks."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
