"""What the figures were measured on, and with."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from app.answer.code_version import processor
from bench.child import ROOT

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
    """Date, commit, machine and versions."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _commit(),
        "machine": {
            "processor": processor(),
            "architecture": platform.machine(),
            "cores": cores(),
            "system": platform.system(),
        },
        "versions": {"python": platform.python_version(), **_versions()},
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _commit() -> str | None:
    """Short hash, with "-dirty" when tracked files differ from it; None outside a clone."""
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
