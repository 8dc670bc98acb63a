"""Tiles on disk → answers on disk: what `marrowscope analyze` does."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from app.answer.cell_types import type_names
from app.answer.formats import FORMATS, Format
from app.answer.present import Result, png
from app.answer.schemas import NOTICE
from app.cohort.nuclei import nuclei_of_tile
from app.cohort.sources import STDIN, NoSuchTile, Source, find_tiles
from app.pipeline.bundle.load import Bundle
from app.pipeline.corrections import Corrections, read_corrections
from app.pipeline.errors import InvalidCorrections, InvalidNuclei, PipelineError
from app.pipeline.headers.inputs import check_mpp
from app.pipeline.networks.backend import Precision
from app.pipeline.run import Stages, analyse_stages
from app.review.names import ANYBODY, MAX_PERSON, checked_text
from app.settings import Settings
from app.shell.options import open_bundle, usage_errors
from app.shell.outputs import SUMMARY, CannotWrite, Row, answered_row, failed_row, plan_outputs, summary_table, write
from app.shell.stages import Captions, draw_stages

STAGES = "stages"
# `tile` would be a copy of a file that is there already.
_FORMATS: dict[str, Format] = {name: form for name, form in FORMATS.items() if name != "tile"}
SUFFIXES = {**{name: form.suffix for name, form in _FORMATS.items()}, STAGES: ".stages.png"}
"""The ending of each format's files, in place of the tile's suffix."""
TEXT = ("json", "geojson", "dsa", "csv")
"""The formats that a terminal or a pipe can show."""


@dataclass(frozen=True, slots=True)
class CorrectionsFile:
    """A file with the types that a person gives to cells of the only tile.

    Attributes:
        path: JSON, as the form field `corrections` of POST /analyze takes it.
        reviewer: who gives them; None for nobody's name.
        cells_sha256: on which cells they were made; None if that is not said.
    """

    path: Path
    reviewer: str | None
    cells_sha256: str | None

    def read(self, tiles: Sequence[Source]) -> Corrections | None:
        """Return the corrections; None if the file corrects nothing.

        Args:
            tiles: the tiles that are to be analysed.

        Raises:
            typer.BadParameter: there are several tiles, or the file or the name cannot be used.
            OSError: the file cannot be read.
        """
        if len(tiles) > 1:
            raise typer.BadParameter(
                f"{self.path} corrects cells of one tile, and these are {len(tiles)}; analyse each with its own file."
            )
        with usage_errors():
            by = ANYBODY if self.reviewer is None else checked_text(self.reviewer, "--reviewer", MAX_PERSON)
        try:
            cells = read_corrections(self.path.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise typer.BadParameter(f"{self.path}: this is not UTF-8.") from error
        except InvalidCorrections as error:
            raise typer.BadParameter(f"{self.path}: {error}") from error
        return Corrections(cells, by, self.cells_sha256) if cells else None


def analyze_tiles(
    given: Sequence[str],
    settings: Settings,
    formats: Sequence[str],
    *,
    out: Path | None,
    bundle: str | None,
    mpp: float | None,
    precision: Precision,
    nuclei: Path | None,
    corrections: CorrectionsFile | None = None,
) -> bool:
    """Answer every tile in files. A single tile that is named itself, in one text format and without `out`, is printed.

    Args:
        given: files, folders and patterns; `-` for standard input.
        settings: the folders of bundles, and the largest tile.
        formats: keys of SUFFIXES, at least one.
        out: folder for the answers, made if it does not exist; None for the current folder.
        bundle: name of the bundle; None for the default one.
        mpp: µm per pixel of the tiles; None if it is not known.
        precision: precision of Q.
        nuclei: the nuclei of the only tile, or a folder with those of each tile; None to seek them.
        corrections: the types that a person gives to cells of the only tile; None for none.

    Returns:
        Whether every tile was answered.

    Raises:
        typer.BadParameter: the arguments do not fit together; no tile was analysed.
        InvalidBundle: the bundle cannot be used; no tile was analysed.
        OSError: a folder cannot be read or made; no tile was analysed.
        CannotWrite: the summary cannot be written.
    """
    with usage_errors():
        check_mpp(mpp)
        tiles = find_tiles(given)
        if "-" in given and (sys.stdin is None or sys.stdin.isatty()):
            raise NoSuchTile("- reads a tile from standard input, and none is sent: write `… analyze - < tile.png`.")
    if nuclei is not None and len(tiles) > 1 and not nuclei.is_dir():
        raise typer.BadParameter(f"{nuclei} is one file for {len(tiles)} tiles; name a folder with a file for each.")
    given_types = None if corrections is None else corrections.read(tiles)
    wanted = list(dict.fromkeys(formats))
    folder = out or Path()
    to_stdout = len(tiles) == 1 and tiles[0].is_named and len(wanted) == 1 and wanted[0] in TEXT and out is None
    if not to_stdout:
        inputs = {"a file of nuclei": _files_of_nuclei(nuclei, tiles)}
        inputs["a file of corrections"] = [] if corrections is None else [corrections.path]
        outputs = plan_outputs(tiles, folder, [SUFFIXES[name] for name in wanted], inputs)
    used = open_bundle(settings, bundle)
    request = TileRequest(wanted, used, settings.max_pixels, mpp, precision, nuclei, given_types)
    if to_stdout:
        return _print_answer(request, tiles[0])
    folder.mkdir(parents=True, exist_ok=True)
    return _write_answers(request, tiles, outputs, folder)


@dataclass(frozen=True, slots=True)
class TileRequest:
    """What is asked about every tile.

    Attributes:
        formats: keys of SUFFIXES.
        bundle: the bundle that analyses.
        max_pixels: pixels of the largest tile.
        mpp: µm per pixel of the tiles; None if it is not known.
        precision: precision of Q.
        nuclei: the nuclei of the only tile, or a folder with those of each tile; None to seek them.
        corrections: the types that a person gives to cells of the only tile; None if nobody does.
    """

    formats: list[str]
    bundle: Bundle
    max_pixels: int
    mpp: float | None
    precision: Precision
    nuclei: Path | None
    corrections: Corrections | None

    def answer(self, tile: Source) -> tuple[Result, list[bytes]]:
        """Analyse one tile once, and return the result and its bytes in every format.

        Raises:
            OSError: the tile or its nuclei cannot be read.
            PipelineError: the tile cannot be analysed, or not be answered in one of the formats.
        """
        nuclei = None if self.nuclei is None else nuclei_of_tile(self.nuclei, tile).read_bytes()
        analysis, stages = analyse_stages(
            _read(tile),
            self.bundle,
            max_pixels=self.max_pixels,
            mpp=self.mpp,
            precision=self.precision,
            nuclei=nuclei,
            corrections=self.corrections,
        )
        # POST /analyze would have given such an id, too.
        result = Result(analysis, self.bundle, uuid.uuid4().hex)
        return result, [
            _stages_png(tile.path.name, result, stages) if name == STAGES else _FORMATS[name].write(result)
            for name in self.formats
        ]


def _files_of_nuclei(nuclei: Path | None, tiles: Sequence[Source]) -> list[Path]:
    """Return the files of nuclei that there are, which no answer may replace."""
    found: list[Path] = []
    if nuclei is None:
        return found
    for tile in tiles:
        with suppress(InvalidNuclei):  # It is an error of that tile alone.
            found.append(nuclei_of_tile(nuclei, tile))
    return found


def _read(tile: Source) -> bytes:
    """Return the bytes of a tile.

    Raises:
        OSError: it cannot be read.
        NoSuchTile: nothing came on standard input.
    """
    if tile is not STDIN:
        return tile.path.read_bytes()
    data = sys.stdin.buffer.read()
    if not data:
        raise NoSuchTile("Nothing came on standard input; the program that was to send the tile may have failed.")
    return data


def _stages_png(name: str, result: Result, stages: Stages) -> bytes:
    height, width = stages.pixels.shape[:2]
    analysis, manifest, n = result.analysis, result.bundle.manifest, len(stages.nuclei)
    is_scaled = (width, height) != (analysis.tile.width, analysis.tile.height)
    scaled = f", at {manifest.mpp:g} µm per pixel" if is_scaled else ""
    captions = Captions(
        title=f"{name} · bundle {manifest.name}, version {manifest.version} · {n} {'nucleus' if n == 1 else 'nuclei'}",
        warnings=tuple(f"{flag.code}: {flag.message}" for flag in analysis.quality.flags),
        tile=f"Tile as uploaded{scaled}, {width} × {height} px",
        notice=NOTICE,
    )
    return png(draw_stages(stages.pixels, stages.stains, stages.nuclei, stages.crops, captions))


def _print_answer(request: TileRequest, tile: Source) -> bool:
    """Print the answer of one tile, in the very bytes of the service; return whether there is one."""
    try:
        _, (content,) = request.answer(tile)
    except (OSError, PipelineError) as error:
        typer.echo(f"{tile.path}: {_reason(error)}", err=True)
        return False
    typer.echo(content, nl=sys.stdout.isatty())
    return True


def _write_answers(
    request: TileRequest, tiles: Sequence[Source], outputs: Sequence[Sequence[Path]], folder: Path
) -> bool:
    """Analyse tiles one after the other. Written files are named on stdout, and failures on stderr.

    The summary holds what is done, also if the command is interrupted.

    Args:
        request: what is asked about each tile.
        tiles: the tiles.
        outputs: the files of each tile, one for each format.
        folder: gets the summary.

    Returns:
        Whether every tile was answered. After an answer that cannot be written, no further tile is analysed.

    Raises:
        CannotWrite: the summary cannot be written.
    """
    report = _Report(request, Console(stderr=True))
    try:
        with progress(report.console) as bar:
            task = bar.add_task("", total=len(tiles))
            for tile, files in zip(tiles, outputs, strict=True):
                bar.update(task, description=tile.path.name)
                report.answer(tile, files)
                bar.advance(task)
    except CannotWrite:
        pass  # The report has named it, and the next answer could not be written either.
    finally:
        report.close(folder, len(tiles))
    return report.n_answered == len(tiles)


@dataclass(slots=True)
class _Report:
    """What was done of the tiles so far, for the summary and for the terminal."""

    request: TileRequest
    console: Console
    rows: list[Row] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)
    n_answered: int = 0

    def answer(self, tile: Source, files: Sequence[Path]) -> None:
        """Answer one tile, or report why it cannot be answered.

        Raises:
            CannotWrite: one of its files cannot be written; that was reported.
        """
        try:
            result, contents = self.request.answer(tile)
            for content, file in zip(contents, files, strict=True):
                write(content, file)
                self.written.append(file)
        except (OSError, PipelineError) as error:
            reason = _reason(error)
            self.console.out(f"{tile.path}: {reason}", highlight=False)
            self.rows.append(failed_row(tile.path, reason))
            if isinstance(error, CannotWrite):
                raise
            return
        self.rows.append(answered_row(tile.path, result))
        self.n_answered += 1

    def close(self, folder: Path, n_tiles: int) -> None:
        """Write the summary, and print what was written and how many tiles failed.

        Raises:
            CannotWrite: the summary cannot be written.
        """
        if not self.rows and not self.written:
            return
        try:
            # The summary comes first, because the program that reads stdout may have ended.
            manifest = self.request.bundle.manifest
            write(summary_table(self.rows, manifest.n_clusters, type_names(manifest)), folder / SUMMARY)
        finally:
            for file in self.written:
                typer.echo(os.fsencode(file))
        n_failed = len(self.rows) - self.n_answered
        of_them = "" if len(self.rows) == n_tiles else f" of {n_tiles}"
        noun = "tile" if (n_tiles if of_them else self.n_answered) == 1 else "tiles"
        self.console.out(
            f"{self.n_answered}{of_them} {noun} analysed, {n_failed} failed; see {folder / SUMMARY}", highlight=False
        )


def _reason(error: Exception) -> str:
    """Return why a tile has no answer, in words."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def progress(console: Console) -> Progress:
    """Return a progress bar, which is shown on a terminal only: n of m, the time left, and the name of the tile."""
    return Progress(
        BarColumn(bar_width=20),
        MofNCompleteColumn(separator=" of "),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
        console=console,
        transient=True,
        # rich would otherwise send what is meant for stdout, even for a file, to the terminal that is stderr.
        redirect_stdout=False,
        disable=not sys.stderr.isatty(),
    )
