"""Tiles on disk → a bundle that is adapted to their laboratory: what `marrowscope bundle adapt` does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import typer
from rich.console import Console

from app.adapt.fit import REPORT, adapt
from app.cohort.sources import NoSuchTile, find_tiles
from app.files import write_whole
from app.pipeline.bundle.load import bundle_directory
from app.pipeline.quality.assess import HARMLESS
from app.settings import Settings
from app.shell.analyze import progress
from app.shell.options import open_bundle


def adapt_bundle(
    given: list[str], settings: Settings, name: str, *, source: str | None, mpp: float | None, report: Path | None
) -> None:
    """Adapt a bundle to tiles, write it and its report, and print what came of it.

    Args:
        given: files, folders and patterns.
        settings: the folders of bundles.
        name: of the new bundle.
        source: name of the bundle to adapt; None for the default one.
        mpp: µm per pixel of the tiles; None for what each file says, or else the bundle's.
        report: where a copy of the report is written; None for NAME.html in the current folder.

    Raises:
        typer.BadParameter: there is no such bundle, or no tile.
        PipelineError: a tile cannot be used, or the bundle cannot be adapted; the text says why.
        OSError: a file cannot be read or written.
    """
    try:
        tiles = [tile.path for tile in find_tiles(given)]
    except NoSuchTile as error:
        raise typer.BadParameter(str(error)) from error
    bundle = open_bundle(settings, source)
    target = bundle_directory(name, settings.bundle_folders)
    with progress(Console(stderr=True)) as bar:

        def track(paths: Iterable[Path]) -> Iterator[Path]:
            passed = bar.add_task("", total=len(tiles))
            for path in paths:
                bar.update(passed, description=path.name)
                yield path
                bar.advance(passed)
            bar.remove_task(passed)

        adapted = adapt(tiles, bundle, target, mpp=mpp, track=track)
    page = report or Path(f"{name}.html")
    write_whole((target / REPORT).read_bytes(), page)
    for sentence in adapted.warnings:
        typer.echo(f"Warning: {sentence}", err=True)
    before, after = (_refused(found.flags) for found in (adapted.before, adapted.after))
    typer.echo(f"{target}: {adapted.manifest.name} {adapted.manifest.version}, adapted to {len(tiles)} tiles.")
    typer.echo(f"Flags that prevent a label: {before} with {bundle.manifest.name}, {after} now. The report: {page}")


def _refused(flags: dict[str, int]) -> int:
    return sum(number for code, number in flags.items() if code not in HARMLESS)
