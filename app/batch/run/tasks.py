"""The tasks of a worker. Each reads files and writes whole files, so any worker can do it, and it can be repeated."""

from __future__ import annotations

import platform
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile

import cv2

from app.answer.provenance import code_version
from app.batch.analyse.cells import write_tile
from app.batch.analyse.tile import analyse_tile
from app.batch.folder import BatchFolder, BatchManifest, read_manifest
from app.batch.plan.plan import Plan, read_plan
from app.batch.plan.prepare import prepare
from app.batch.plan.tissue import read_overview, write_overview
from app.batch.read.open import open_slide
from app.batch.read.slide import Slide, SlideError
from app.batch.run.resume import existing_summary, missing_tiles
from app.batch.write.geojson import write_slide_geojson
from app.batch.write.slide_results import write_slide
from app.files import remove_unfinished, write_whole
from app.pipeline.bundle.load import Bundle, load_bundle
from app.pipeline.errors import InvalidBundle
from app.pipeline.inputs import FrameName
from app.pipeline.memory import keep_buffers


def prepare_slide(path: Path, index: int) -> list[int]:
    """Write the plan of a slide, unless it exists.

    Args:
        path: the folder of the batch.
        index: the place of the slide in the manifest of the batch.

    Returns:
        The numbers of the tiles that are still to be analysed.

    Raises:
        PipelineError, OSError, MemoryError: the slide cannot be prepared.
    """
    batch, folder = read_manifest(path), BatchFolder(path)
    source = batch.slides[index]
    if source.refused:
        raise SlideError(source.refused)
    remove_unfinished(folder.results(source.slide))
    with suppress(OSError, ValueError, BadZipFile):  # the files are missing, or a power cut left one without its end
        read_overview(folder.overview(source.slide))
        return missing_tiles(folder, read_plan(folder.plan(source.slide)))
    plan, overview = prepare(_slide(source.path, batch.max_pixels, batch.frame), source, batch, _bundle(batch))
    write_overview(overview, folder.overview(source.slide))
    write_whole(plan.model_dump_json().encode(), folder.plan(source.slide))
    return missing_tiles(folder, plan)


def analyse_slide_tile(path: Path, index: int, number: int) -> None:
    """Find the cells of one tile of a slide, and write them.

    Args:
        path: the folder of the batch.
        index: the place of the slide in the manifest of the batch.
        number: the number of the tile.

    Raises:
        PipelineError, OSError, MemoryError: the tile cannot be analysed.
    """
    batch, folder = read_manifest(path), BatchFolder(path)
    source = batch.slides[index]
    plan = _plan(folder.plan(source.slide))
    cells = analyse_tile(
        _slide(source.path, batch.max_pixels, batch.frame), plan, number, _bundle(batch), batch.precision
    )
    write_tile(cells, folder.tile(source.slide, number))


def write_results(path: Path, index: int) -> None:
    """Write the results of a slide from the cells of its tiles, apart from the GeoJSON, unless they exist.

    Args:
        path: the folder of the batch.
        index: the place of the slide in the manifest of the batch.

    Raises:
        PipelineError, OSError, MemoryError: the results cannot be written.
    """
    batch, folder = read_manifest(path), BatchFolder(path)
    source = batch.slides[index]
    if existing_summary(folder, source.slide) is None:
        write_slide(_slide(source.path, batch.max_pixels, batch.frame), source, folder, _bundle(batch), batch)


def write_outlines(path: Path, index: int) -> None:
    """Write the GeoJSON of a slide from the cells of its tiles, unless it exists.

    Args:
        path: the folder of the batch.
        index: the place of the slide in the manifest of the batch.

    Raises:
        PipelineError, OSError, MemoryError: the file cannot be written.
    """
    batch, folder = read_manifest(path), BatchFolder(path)
    slide = batch.slides[index].slide
    if not folder.geojson(slide, batch).exists():
        write_slide_geojson(slide, folder, _bundle(batch), batch)


@lru_cache(maxsize=2)
def _slide(path: str, max_pixels: int, frame: FrameName) -> Slide:
    """Open a slide, which stays open for its next tile; a worker does one task at a time."""
    return open_slide(Path(path), max_pixels, frame)


@lru_cache(maxsize=2)
def _plan(path: Path) -> Plan:
    return read_plan(path)


@lru_cache(maxsize=1)
def _bundle(batch: BatchManifest) -> Bundle:
    """Load the bundle of a batch, for one thread, because there is a worker on each core.

    Raises:
        InvalidBundle: the bundle cannot be used here, or it or the program is another than that of the batch.
    """
    keep_buffers()
    cv2.setNumThreads(1)
    if batch.code_version != code_version():
        raise InvalidBundle(f"Worker {platform.node()} runs {code_version()}, and the batch was begun with another.")
    bundle = load_bundle(Path(batch.bundles_dir) / batch.bundle, threads=1)
    if bundle.sha256 != batch.bundle_sha256:
        raise InvalidBundle(f"The bundle {batch.bundle} on worker {platform.node()} is not that of the batch.")
    return bundle
