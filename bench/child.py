"""Measurements in processes of their own, so that each has its own memory and the libraries' own settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BUNDLE = ROOT / "models" / "marrow"


def clean_environment() -> dict[str, str]:
    """The environment without what would change the service or the number of threads: defaults are measured."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MARROWSCOPE_") and not name.endswith("_NUM_THREADS")
    }


def run_child(module: str, *arguments: str, **environment: str) -> dict[str, Any]:
    """Run `python -m module`, which prints one JSON object as its last line.

    Args:
        module: its name.
        arguments: its command line.
        environment: set beside `clean_environment`.

    Raises:
        RuntimeError: it failed; the text is the end of what it said.
    """
    command = [sys.executable, "-m", module, *arguments]
    env = {**clean_environment(), **environment}
    done = subprocess.run(command, cwd=ROOT, env=env, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
