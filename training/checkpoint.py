"""Checkpoints: everything that a resumed run needs to equal the uninterrupted one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

NAME = "checkpoint.pt"


def save(directory: Path, state: Mapping[str, Any]) -> None:
    """Write the checkpoint whole or not at all."""
    partial = directory / f"{NAME}.partial"
    torch.save(dict(state), partial)
    partial.replace(directory / NAME)


def load(directory: Path, device: torch.device) -> dict[str, Any] | None:
    """Read the checkpoint, None when there is none yet. Tensors and plain values only: nothing is unpickled freely."""
    path = directory / NAME
    if not path.is_file():
        return None
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state
