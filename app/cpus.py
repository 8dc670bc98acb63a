"""How many processors this process may use: a container often has fewer than the machine below it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath


def usable_cpus(root: Path = Path("/")) -> int:
    """Return how many processors this process may keep busy, at least 1.

    It is the smallest of three numbers: the processors of the machine, those that the process may run on (affinity, a
    container's cpuset), and the quotas of its control groups (cgroups), rounded up. A quota is the share of time that
    Docker's `--cpus` and the CPU limit of Kubernetes set.

    Args:
        root: the folder that holds proc and sys.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [math.ceil(quota) for folder in _groups(root) for quota in _quota(folder)]
    return max(1, min([allowed, *quotas]))


def _groups(root: Path) -> Iterator[Path]:
    """Yield the folder of each control group that limits the processors of this process, and of those above it.

    cgroups(7) and proc_pid_mountinfo(5) describe the two files. Systems without control groups have neither.
    """
    with suppress(OSError):
        names = _names(root / "proc/self/cgroup")
        for line in (root / "proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            mount, _, file_system = line.partition(" - ")
            _, _, _, top, place = mount.split()[:5]
            kind, _, options = file_system.split(maxsplit=2)
            if kind in names and (kind == "cgroup2" or "cpu" in options.split(",")):
                # A container often sees its own group only, as the root of what is mounted.
                name, is_below = names[kind], names[kind].is_relative_to(top)
                below = name.relative_to(top).parts if is_below and ".." not in name.parts else ()
                folder = root / place.lstrip("/")
                yield from (folder.joinpath(*below[:depth]) for depth in range(len(below) + 1))


def _names(file: Path) -> dict[str, PurePosixPath]:
    """Return the names of the groups of this process that may limit its processors, by the kind of file system."""
    names = {}
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        _, controllers, name = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            names["cgroup" if controllers else "cgroup2"] = PurePosixPath(name)
    return names


def _quota(folder: Path) -> Iterator[float]:
    """Yield the quota of a control group in processors; nothing if it has none (`max`, or −1 in version 1)."""
    with suppress(OSError, ValueError):
        files = [folder / "cpu.max"]
        if not files[0].exists():
            files = [folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us"]
        quota, period = (int(text) for file in files for text in file.read_text(encoding="ascii").split())
        if quota > 0 and period > 0:
            yield quota / period
