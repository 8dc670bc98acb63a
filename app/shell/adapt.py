"""Tiles or slides on disk → a bundle that is adapted to their laboratory: what `marrowscope bundle adapt` does."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from warnings import catch_warnings

import typer
from PIL import Image
from rich.console import Console

from app.adapt.fit import REPORT, adapt
from app.adapt.tiles import MAX_TILE_PIXELS
from app.cohort.sources import NoSuchTile, find_slides
from app.files import write_whole
from app.pipeline.bundle.load import Bundle, bundle_directory
from app.pipeline.errors import PipelineError
from app.pipeline.headers.inputs import SLIDE_SUFFIXES
from app.pipeline.quality.assess import HARMLESS
from app.settings import Settings
from app.shell.analyze import progress
from app.shell.options import needs_extra, open_bundle

TILES_OF_SLIDES, FEWEST_TILES_OF_A_SLIDE = 20, 4
"""So many tiles are cut from all slides together, and at least so many from each."""


def adapt_bundle(
    given: list[str], settings: Settings, name: str, *, source: str | None, mpp: float | None, report: Path | None
) -> None:
    """Adapt a bundle to tiles, or to tiles of slides, write it and its report, and print what came of it.

    Args:
        given: files, folders and patterns of tiles and slides.
        settings: the folders of bundles.
        name: of the new bundle.
        source: name of the bundle to adapt; None for the default one.
        mpp: µm per pixel of the tiles; None for what each file says, or else the bundle's.
        report: where a copy of the report is written; None for NAME.html in the current folder.

    Raises:
        typer.BadParameter: there is no such bundle, or no tile.
        typer.Exit: a slide was given, and the packages that read slides are not installed.
        PipelineError: a tile or slide cannot be used, or the bundle cannot be adapted; the text says why.
        OSError: a file cannot be read or written.
    """
    try:
        paths = [source.path for source in find_slides(given)]
    except NoSuchTile as error:
        raise typer.BadParameter(str(error)) from error
    bundle = open_bundle(settings, source)
    target = bundle_directory(name, settings.bundle_folders)
    slides = [path for path in paths if _is_slide(path)]
    with TemporaryDirectory() as folder, progress(Console(stderr=True)) as bar:

        def track(paths: Iterable[Path]) -> Iterator[Path]:
            passed = bar.add_task("", total=len(tiles))
            for path in paths:
                bar.update(passed, description=path.name)
                yield path
                bar.advance(passed)
            bar.remove_task(passed)

        tiles = [path for path in paths if path not in slides]
        tiles += _tiles_of(slides, Path(folder), bundle, mpp)
        adapted = adapt(tiles, bundle, target, mpp=mpp, track=track)
    page = report or Path(f"{name}.html")
    write_whole((target / REPORT).read_bytes(), page)
    for sentence in adapted.warnings:
        typer.echo(f"Warning: {sentence}", err=True)
    before, after = (_refused(found.flags) for found in (adapted.before, adapted.after))
    typer.echo(f"{target}: {adapted.manifest.name} {adapted.manifest.version}, adapted to {len(tiles)} tiles.")
    typer.echo(f"Flags that prevent a label: {before} with {bundle.manifest.name}, {after} now. The report: {page}")


def _is_slide(path: Path) -> bool:
    """Return whether a file is a slide: by its name, its levels, or because it has more pixels than a tile may have."""
    if path.suffix.lower() in SLIDE_SUFFIXES:
        return True
    try:
        with catch_warnings(action="ignore"), Image.open(path) as image:
            # A photograph may have frames, too: the preview of a camera, or an animation.
            has_levels = image.format == "TIFF" and getattr(image, "n_frames", 1) > 1
            return has_levels or image.width * image.height > MAX_TILE_PIXELS
    except Image.DecompressionBombError:
        return True
    except (OSError, SyntaxError, ValueError):
        # What cannot be read as a tile either is named when it is.
        return False


def _tiles_of(slides: Sequence[Path], folder: Path, bundle: Bundle, mpp: float | None) -> list[Path]:
    """Write tiles of each slide into folders of their own, and return their paths."""
    if not slides:
        return []
    with needs_extra("batch"):
        from app.batch.plan.cut_tiles import cut_tiles
    n = max(FEWEST_TILES_OF_A_SLIDE, math.ceil(TILES_OF_SLIDES / len(slides)))
    tiles = []
    for i, slide in enumerate(slides):
        own = folder / str(i)
        own.mkdir()
        try:
            tiles += cut_tiles(slide, own, n, bundle.manifest, mpp, MAX_TILE_PIXELS)
        except PipelineError as error:
            raise type(error)(f"{slide.name}: {error}") from error
    return tiles


def _refused(flags: dict[str, int]) -> int:
    return sum(number for code, number in flags.items() if code not in HARMLESS)
