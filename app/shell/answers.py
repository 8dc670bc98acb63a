"""Tiles, one after the other → files of answers and the summary."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from app.files import write_whole
from app.pipeline.errors import PipelineError
from app.shell.job import Job
from app.shell.sources import Source
from app.shell.summary import SUMMARY, Row, answered, failed, summary_table


class CannotWrite(OSError):
    """A file cannot be written; the text names it and says why."""


def write(data: bytes, target: Path) -> None:
    """Write or replace a file, and make its folder.

    Raises:
        CannotWrite: what was there before stays.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(data, target)
    except OSError as error:
        raise CannotWrite(f"{target} cannot be written: {error.strerror}") from error


def answer_tiles(job: Job, tiles: Sequence[Source], targets: Sequence[Sequence[Path]], folder: Path) -> bool:
    """Analyse tiles one after the other; name what was written on stdout, and what failed on stderr.

    Also when it is interrupted, what is done is in the summary.

    Args:
        job: what is asked about each.
        tiles: where they lie.
        targets: the files of each, one for each format.
        folder: gets the summary.

    Returns:
        Whether every tile was answered; none is begun after an answer that cannot be written.

    Raises:
        CannotWrite: the summary cannot be written.
    """
    run = _Run(job, Console(stderr=True))
    try:
        with _progress(run.console) as bar:
            task = bar.add_task("", total=len(tiles))
            for tile, files in zip(tiles, targets, strict=True):
                bar.update(task, description=tile.path.name)
                run.answer(tile.path, files)
                bar.advance(task)
    except CannotWrite:
        pass  # It was named, and the next one could not be written either.
    finally:
        run.close(folder, len(tiles))
    return run.n_answered == len(tiles)


@dataclass(slots=True)
class _Run:
    """What is done of a run, and where it is told."""

    job: Job
    console: Console
    rows: list[Row] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)
    n_answered: int = 0

    def answer(self, tile: Path, files: Sequence[Path]) -> None:
        """Answer one tile, or say why not.

        Raises:
            CannotWrite: one of its files; that was said.
        """
        try:
            answer, contents = self.job.answer(tile)
            for content, file in zip(contents, files, strict=True):
                write(content, file)
                self.written.append(file)
        except (OSError, PipelineError) as error:
            reason = reason_of(error)
            self.console.out(f"{tile}: {reason}", highlight=False)
            self.rows.append(failed(tile, reason))
            if isinstance(error, CannotWrite):
                raise
            return
        self.rows.append(answered(tile, answer))
        self.n_answered += 1

    def close(self, folder: Path, n_tiles: int) -> None:
        """Write the summary, and say what was done.

        Raises:
            CannotWrite: the summary.
        """
        if not self.rows and not self.written:
            return
        try:
            # First, since what reads stdout may have gone.
            write(summary_table(self.rows, self.job.bundle.manifest.n_clusters), folder / SUMMARY)
        finally:
            for file in self.written:
                typer.echo(os.fsencode(file))
        n_failed = len(self.rows) - self.n_answered
        of_them = "" if len(self.rows) == n_tiles else f" of {n_tiles}"
        noun = "tile" if n_tiles == 1 else "tiles"
        self.console.out(
            f"{self.n_answered}{of_them} {noun} analysed, {n_failed} failed; see {folder / SUMMARY}", highlight=False
        )


def reason_of(error: Exception) -> str:
    """Why a tile has no answer, in words."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _progress(console: Console) -> Progress:
    """A bar on a terminal, nothing elsewhere: n of m, the time left, and the tile's name."""
    return Progress(
        BarColumn(bar_width=20),
        MofNCompleteColumn(separator=" of "),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
        console=console,
        transient=True,
        # rich would redirect what is meant for stdout, even into a file, to the terminal that is stderr.
        redirect_stdout=False,
        disable=not sys.stderr.isatty(),
    )
