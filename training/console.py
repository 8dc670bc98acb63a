"""What the command lines of the training share: the console, progress bars, files written whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.progress import track

from app.files import write_whole

T = TypeVar("T")
console = Console(stderr=True)


def bar(description: str) -> Callable[[Iterable[T]], Iterable[T]]:
    """A progress bar round an iterable."""
    return partial(track, description=description, console=console)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    write_whole(text.encode(), path)


def keep_scores(path: Path, scores: dict[str, Any]) -> None:
    """Write what was measured as JSON, whole or not at all, and print it."""
    text = json.dumps(scores, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text)
    typer.echo(text, nl=False)
