"""Resident memory of a process, as the Linux kernel counts it (proc(5), /proc/PID/status)."""

from __future__ import annotations

import re
from pathlib import Path

Pid = int | str


def rss_mb(pid: Pid = "self") -> float | None:
    """Resident memory now, in MB of 2^20 bytes; None where there is no /proc."""
    return _field("VmRSS", pid)


def peak_rss_mb(pid: Pid = "self") -> float | None:
    """Largest resident memory so far, likewise.

    Not getrusage's maximum: that one begins with the memory of the process that started this one.
    """
    return _field("VmHWM", pid)


def _field(name: str, pid: Pid) -> float | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else None
