"""Processes: starting one for each measurement, and reading its memory and processor time from /proc (proc(5)).

A process of its own gives each measurement its own memory and the libraries' default settings. Where a system has no
/proc, memory and processor time are None.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import ROOT

Pid = int | str


def clean_environment() -> dict[str, str]:
    """Return this environment without the variables that change the service or the number of threads.

    What is measured is then the service with its default settings.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MARROWSCOPE_") and not name.endswith("_NUM_THREADS")
    }


def run_child(module: str, *arguments: str, **environment: str) -> dict[str, Any]:
    """Run `python -m module` and return the JSON object that it prints as its last line.

    Args:
        module: name of the module.
        arguments: its command line.
        environment: variables to set in addition to `clean_environment`.

    Raises:
        RuntimeError: the process failed; the message ends with the end of its standard error.
    """
    command = [sys.executable, "-m", module, *arguments]
    env = {**clean_environment(), **environment}
    done = subprocess.run(command, cwd=ROOT, env=env, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def rss_mb(pid: Pid = "self") -> float | None:
    """Return the resident memory of a process now, in MB of 2^20 bytes."""
    return _status_mb("VmRSS", pid)


def peak_rss_mb(pid: Pid = "self") -> float | None:
    """Return the largest resident memory of a process so far, in MB of 2^20 bytes.

    The maximum of getrusage(2) is not used, because it includes the memory of the process that started this one.
    """
    return _status_mb("VmHWM", pid)


def cpu_seconds(pid: Pid = "self") -> float | None:
    """Return the processor time of all threads of a process so far, in user mode and in the kernel, in seconds."""
    if (stat := _read("stat", pid)) is None:
        return None
    # The program's name, in brackets, may hold spaces and brackets; utime and stime are fields 12 and 13 after it.
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def descendants(pid: Pid) -> list[int]:
    """Return the processes that a process started, and those that they started; none where there is no /proc."""
    children: dict[str, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        if (stat := _read("stat", path.name)) is not None:
            children.setdefault(stat.rpartition(")")[2].split()[1], []).append(int(path.name))
    found, parents = [], [str(pid)]
    while parents:
        started = children.get(parents.pop(), [])
        found += started
        parents += map(str, started)
    return found


def _status_mb(name: str, pid: Pid) -> float | None:
    """Return a memory field of /proc/PID/status in MB."""
    if (status := _read("status", pid)) is None:
        return None
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else None


def _read(name: str, pid: Pid) -> str | None:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
