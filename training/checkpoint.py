"""Checkpoints: all that a resumed run needs in order to equal an uninterrupted one."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from app.files import write_whole
from training.errors import CheckpointError

NAME = "checkpoint.pt"


def save(directory: Path, state: Mapping[str, Any], name: str = NAME) -> None:
    """Write the checkpoint whole or not at all.

    Args:
        directory: of the run.
        state: tensors and plain values.
        name: of the file.

    Raises:
        OSError: it cannot be written.
    """
    # Written to memory first: on a full disk, torch would raise an error that names a position in the file only.
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_whole(buffer.getbuffer(), directory / name)


def load(directory: Path, device: torch.device, name: str = NAME) -> dict[str, Any] | None:
    """Read the checkpoint, or return None if there is none yet.

    Only tensors and plain values are read: a checkpoint cannot run code.

    Raises:
        CheckpointError: it is damaged, or not a checkpoint.
    """
    path = directory / name
    if not path.is_file():
        return None
    data = io.BytesIO(path.read_bytes())
    try:
        state: dict[str, Any] = torch.load(data, map_location=device, weights_only=True)
    except (EOFError, OSError, RuntimeError, UnpicklingError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged; remove it, and the training begins anew.") from error
    return state
