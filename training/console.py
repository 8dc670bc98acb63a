"""What the commands of the training share: progress bars, and results as text, JSON and pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import track

from app.files import write_whole

if TYPE_CHECKING:
    from app.pipeline.types import UInt8Array

T = TypeVar("T")
console = Console(stderr=True)


def bar(description: str) -> Callable[[Iterable[T]], Iterable[T]]:
    """Return a function that shows a progress bar while an iterable is gone through."""
    return partial(track, description=description, console=console)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    write_whole(text.encode(), path)


def keep_scores(path: Path, scores: dict[str, Any]) -> None:
    """Write measured scores as JSON, whole or not at all, and print them."""
    text = json.dumps(scores, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text)
    typer.echo(text.encode(), nl=False)


def keep_picture(path: Path, pixels: UInt8Array, quality: int = 85) -> Path:
    """Write (H, W, 3) uint8 RGB pixels to a file, by default as a JPEG of quality 85; return its path."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=quality)
    return path
