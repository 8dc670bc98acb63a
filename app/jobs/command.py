"""`marrowscope batch` as the service runs it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from app.jobs.batch import Batch
from app.jobs.folder import PATIENTS, REGIONS, RESULTS
from app.settings import Settings

TRY_AGAIN = 75
"""Exit status of a command that lost its scheduler, and can go on when it is back; EX_TEMPFAIL of sysexits.h."""


def batch_command(settings: Settings) -> Callable[[Batch, Path], list[str]]:
    """What makes the command for a batch and its folder.

    Args:
        settings: where the command finds its workers; the rest it reads from the same environment.
    """

    def command(batch: Batch, folder: Path) -> list[str]:
        parameters = batch.order.parameters
        options = {
            "--out": folder / RESULTS,
            "--bundle": parameters.bundle,
            "--precision": parameters.precision,
            "--mpp": parameters.mpp,
            "--regions": _regions(folder / REGIONS) if parameters.regions else None,
            "--patients": folder / PATIENTS if parameters.patients else None,
            "--workers": settings.batch_workers,
            "--scheduler": settings.scheduler,
        }
        given = [part for name, value in options.items() if value is not None for part in (name, str(value))]
        return [sys.executable, "-m", "app", "batch", batch.order.argument, *given]

    return command


def _regions(folder: Path) -> Path:
    """The one file of a folder, which may have any name; the folder, where each file is named for its slide."""
    files = list(folder.iterdir())
    return files[0] if len(files) == 1 else folder
