"""Where the answers of the shell go, found out before anything is done."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import typer

from app.shell.sources import Source
from app.shell.summary import HEAD, SUMMARY


def plan(tiles: Sequence[Source], folder: Path, suffixes: Sequence[str]) -> list[list[Path]]:
    """A file for each tile and suffix, in their order; `folder` also gets the summary.

    Raises:
        typer.BadParameter: an answer would overwrite another one, or a tile; or the summary, somebody's table.
        OSError: what is there cannot be read.
    """
    targets = [[folder / f"{tile.stem}{suffix}" for suffix in suffixes] for tile in tiles]
    summary = folder / SUMMARY
    # Many file systems do not tell A.json from a.json.
    first = {str(summary).casefold(): summary}
    for tile, files in zip(tiles, targets, strict=True):
        for file in files:
            other = first.setdefault(str(file).casefold(), tile.path)
            if other is not tile.path:
                raise typer.BadParameter(_clash(other, tile.path, file, summary))
    written = [summary, *(file for files in targets for file in files)]
    overwritten = {os.path.realpath(path) for path in written} & {os.path.realpath(tile.path) for tile in tiles}
    if overwritten:
        raise typer.BadParameter(f"{min(overwritten)} is a tile, and would be overwritten; choose another --out.")
    if summary.is_file() and not _is_ours(summary):
        raise typer.BadParameter(f"{summary} was not written by marrowscope; move it away, or choose another --out.")
    return targets


def _clash(first: Path, second: Path, file: Path, summary: Path) -> str:
    if first is summary:
        return f"the answer of {second} and the summary of all tiles would both be {file}; rename the tile."
    hint = "" if first.parent == second.parent else ", or name the folder above both: its sub-folders stay apart"
    return f"{first} and {second} would both be answered in {file}; rename one{hint}."


def _is_ours(summary: Path) -> bool:
    head = ",".join(HEAD).encode()
    with summary.open("rb") as file:
        return file.read(len(head)) == head
