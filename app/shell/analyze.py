"""Tiles on disk → answers on disk: what `marrowscope analyze` does. Knows no HTTP but the form of its answers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from app.pipeline.bundle.load import MANIFEST, Bundle, load_bundle
from app.pipeline.errors import InvalidParameter, PipelineError
from app.pipeline.inputs import check_mpp
from app.pipeline.networks.backend import Precision
from app.settings import Settings
from app.shell.answers import answer_tiles, reason_of
from app.shell.job import SUFFIXES, Job
from app.shell.sources import find_tiles
from app.shell.targets import plan

TEXT = ("json", "geojson", "csv")
"""Formats that a terminal or a pipe can take."""


def analyze_tiles(
    given: Sequence[str],
    settings: Settings,
    formats: Sequence[str],
    *,
    out: Path | None,
    bundle: str | None,
    mpp: float | None,
    precision: Precision,
) -> bool:
    """Answer every tile in files, or on stdout when one tile is named, its answer is one text, and no folder is.

    Args:
        given: files, folders and patterns.
        settings: where the bundles are, and the largest tile.
        formats: keys of SUFFIXES, one or more.
        out: folder for the answers, made when it is not there; None for the current one.
        bundle: None for the default one.
        mpp: µm per pixel of the tiles, if known.
        precision: of Q.

    Returns:
        Whether every tile was answered.

    Raises:
        typer.BadParameter: it makes no sense, and nothing was done.
        InvalidBundle: the bundle cannot be used.
        OSError: a folder cannot be read or made; nothing was done.
        CannotWrite: the summary cannot be written.
    """
    try:
        check_mpp(mpp)
    except InvalidParameter as error:
        raise typer.BadParameter(str(error)) from error
    tiles = find_tiles(given)
    wanted = list(dict.fromkeys(formats))
    folder = out or Path()
    to_stdout = len(tiles) == 1 and tiles[0].is_named and len(wanted) == 1 and wanted[0] in TEXT and out is None
    targets = [] if to_stdout else plan(tiles, folder, [SUFFIXES[name] for name in wanted])
    job = Job(wanted, open_bundle(settings, bundle), settings.max_pixels, mpp, precision)
    if to_stdout:
        return print_answer(job, tiles[0].path)
    folder.mkdir(parents=True, exist_ok=True)
    return answer_tiles(job, tiles, targets, folder)


def open_bundle(settings: Settings, name: str | None) -> Bundle:
    """The named bundle, or the default one; only this one is loaded.

    Raises:
        typer.BadParameter: there is no such bundle.
        InvalidBundle: it cannot be used.
    """
    wanted = settings.bundle if name is None else name
    found = sorted(path.parent.name for path in settings.bundles_dir.glob(f"*/{MANIFEST}"))
    if wanted not in found:
        known = ", ".join(found) or "none"
        raise typer.BadParameter(f"there is no '{wanted}' in {settings.bundles_dir}; the bundles are: {known}.")
    return load_bundle(settings.bundles_dir / wanted, settings.threads)


def print_answer(job: Job, tile: Path) -> bool:
    """Answer one tile on stdout, in the very bytes of the service; whether that could be done."""
    try:
        _, (content,) = job.answer(tile)
    except (OSError, PipelineError) as error:
        typer.echo(f"{tile}: {reason_of(error)}", err=True)
        return False
    typer.echo(content, nl=sys.stdout.isatty())
    return True
