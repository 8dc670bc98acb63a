"""Checkpoints: everything that a resumed run needs to equal the uninterrupted one."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from app.files import write_whole

NAME = "checkpoint.pt"


class CheckpointError(Exception):
    """The checkpoint is damaged."""


def save(directory: Path, state: Mapping[str, Any]) -> None:
    """Write the checkpoint whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    # By way of memory: on a full disk torch itself speaks of positions in a file.
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_whole(buffer.getbuffer(), directory / NAME)


def load(directory: Path, device: torch.device) -> dict[str, Any] | None:
    """Read the checkpoint, None when there is none yet. Tensors and plain values only: nothing is unpickled freely.

    Raises:
        CheckpointError: it is damaged, or not a checkpoint.
    """
    path = directory / NAME
    if not path.is_file():
        return None
    data = io.BytesIO(path.read_bytes())
    try:
        state: dict[str, Any] = torch.load(data, map_location=device, weights_only=True)
    except (EOFError, OSError, RuntimeError, UnpicklingError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged; remove it, and `train` begins anew.") from error
    return state
