"""Memory and processor time of a process, as the Linux kernel counts them (proc(5)); None where there is no /proc."""

from __future__ import annotations

import os
import re
from pathlib import Path

Pid = int | str


def rss_mb(pid: Pid = "self") -> float | None:
    """Resident memory now, in MB of 2^20 bytes."""
    return _field("VmRSS", pid)


def peak_rss_mb(pid: Pid = "self") -> float | None:
    """Largest resident memory so far, in MB.

    Not getrusage's maximum: that one begins with the memory of the process that started this one.
    """
    return _field("VmHWM", pid)


def cpu_seconds(pid: Pid = "self") -> float | None:
    """Processor time so far, of all threads, in user mode and in the kernel."""
    if (stat := _read("stat", pid)) is None:
        return None
    # The second field, the program's name in brackets, may hold anything; of those after it, these are utime and stime.
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def descendants(pid: Pid) -> list[int]:
    """Processes that a process began, and those that they began; none where there is no /proc."""
    children: dict[str, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        if (stat := _read("stat", path.name)) is not None:
            children.setdefault(stat.rpartition(")")[2].split()[1], []).append(int(path.name))
    found, left = [], [str(pid)]
    while left:
        begun = children.get(left.pop(), [])
        found += begun
        left += map(str, begun)
    return found


def _field(name: str, pid: Pid) -> float | None:
    if (status := _read("status", pid)) is None:
        return None
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else None


def _read(name: str, pid: Pid) -> str | None:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
