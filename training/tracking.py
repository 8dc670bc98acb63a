"""What a run writes for its user to look at: `metrics.jsonl`, and pictures of generated cells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, SupportsFloat

from PIL import Image

from app.files import write_whole
from app.pipeline.prototypes import tile_grid
from app.pipeline.types import UInt8Array
from training.errors import DivergedError


class MetricsLog:
    """The losses and checks of a run, one JSON object a line; lines are only ever appended.

    Args:
        path: the file.
        resume_at: iteration of the checkpoint that the run resumes from; lines of later iterations are removed.

    Raises:
        OSError: the file cannot be written, for example on a full disk; it is unchanged.
    """

    def __init__(self, path: Path, resume_at: int) -> None:
        self.path = path
        kept = [row for row in self.read(path) if row["iteration"] <= resume_at] if path.exists() else []
        write_whole("".join(json.dumps(row) + "\n" for row in kept).encode(), path)

    def write(self, row: dict[str, Any]) -> None:
        """Append one line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")

    @staticmethod
    def read(path: Path) -> list[dict[str, Any]]:
        """Read all lines, without a last one that a crash or a full disk cut short."""
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]


def finite_losses(losses: Mapping[str, SupportsFloat], iteration: int) -> dict[str, Any]:
    """Return the losses as rounded numbers.

    Raises:
        DivergedError: one is infinite or NaN.
    """
    row = {name: round(float(value), 6) for name, value in losses.items()}
    if not all(abs(value) < float("inf") for value in row.values()):
        raise DivergedError(f"Training diverged at iteration {iteration}: {row}")
    return row


def save_grid(path: Path, cells: UInt8Array, columns: int) -> None:
    """Write cells as one picture, row by row.

    Args:
        path: of the PNG file.
        cells: (N, 32, 32, 3) uint8, N a multiple of `columns`.
        columns: cells per row.
    """
    Image.fromarray(tile_grid(cells.reshape(-1, columns, *cells.shape[1:]))).save(path)
