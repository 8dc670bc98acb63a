"""The kinds of work that a worker is given. Each reads files and leaves whole ones; none returns much."""

from __future__ import annotations

import platform
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile

import cv2

from app.answer.provenance import code_version
from app.batch.analyse.tile import analyse_tile
from app.batch.folder import Run, RunFolder, read_run
from app.batch.part_tables import write_part
from app.batch.plan.plan import Plan
from app.batch.plan.prepare import overview_bytes, prepare, read_overview
from app.batch.read.open import open_slide
from app.batch.read.slide import Slide
from app.batch.write.slide_outlines import write_outlines
from app.batch.write.slide_results import write_slide
from app.files import remove_unfinished, write_whole
from app.pipeline.bundle.load import Bundle, load_bundle
from app.pipeline.errors import InvalidBundle
from app.pipeline.memory import keep_buffers


def prepare_slide(folder: Path, index: int) -> list[int]:
    """Write the plan of a slide, unless it is there.

    Args:
        folder: of the run.
        index: of the slide in its manifest.

    Returns:
        Numbers of the tiles that are still to be analysed.

    Raises:
        PipelineError, OSError, MemoryError: that cannot be done.
    """
    run, at = read_run(folder), RunFolder(folder)
    entry = run.slides[index]
    remove_unfinished(at.slide(entry.slide))
    with suppress(OSError, ValueError, BadZipFile):  # there is none, or a power cut left a file without its end
        read_overview(at.overview(entry.slide))
        return at.missing(entry.slide, at.read_plan(entry.slide))
    plan, seen = prepare(_slide(entry.path, run.max_pixels), entry, run, _bundle(run))
    at.work(entry.slide).mkdir(parents=True, exist_ok=True)
    write_whole(overview_bytes(seen), at.overview(entry.slide))
    write_whole(plan.model_dump_json().encode(), at.plan(entry.slide))
    return at.missing(entry.slide, plan)


def analyse(folder: Path, index: int, number: int) -> None:
    """Write the cells of a tile of a slide; raises as `prepare_slide` does."""
    run, at = read_run(folder), RunFolder(folder)
    entry = run.slides[index]
    plan = _plan(at.plan(entry.slide))
    cells = analyse_tile(_slide(entry.path, run.max_pixels), plan, number, _bundle(run), run.precision)
    write_part(cells, at.part(entry.slide, number))


def tell_slide(folder: Path, index: int) -> None:
    """Write the results of a slide from those of its tiles, but for its GeoJSON; raises as `prepare_slide` does."""
    run, at = read_run(folder), RunFolder(folder)
    entry = run.slides[index]
    if at.told(entry.slide) is None:
        write_slide(_slide(entry.path, run.max_pixels), entry, at, _bundle(run), run)


def outline_slide(folder: Path, index: int) -> None:
    """Write the GeoJSON of a slide from the cells of its tiles; raises as `prepare_slide` does."""
    run, at = read_run(folder), RunFolder(folder)
    entry = run.slides[index]
    if not at.geojson(entry.slide, run).exists():
        write_outlines(entry.slide, at, _bundle(run), run)


@lru_cache(maxsize=2)
def _slide(path: str, max_pixels: int) -> Slide:
    """Kept open between the tiles of one slide; a worker does one thing at a time."""
    return open_slide(Path(path), max_pixels)


@lru_cache(maxsize=2)
def _plan(path: Path) -> Plan:
    return Plan.model_validate_json(path.read_bytes())


@lru_cache(maxsize=1)
def _bundle(run: Run) -> Bundle:
    """The bundle of a run, on one thread: there is a worker for each core.

    Raises:
        InvalidBundle: it cannot be used here, or is another one than where the run was begun.
    """
    keep_buffers()
    cv2.setNumThreads(1)
    if run.code_version != code_version():
        raise InvalidBundle(f"Worker {platform.node()} runs {code_version()}, and the run was begun with another.")
    bundle = load_bundle(Path(run.bundles_dir) / run.bundle, threads=1)
    if bundle.sha256 != run.bundle_sha256:
        raise InvalidBundle(f"The bundle {run.bundle} on worker {platform.node()} is not that of the run.")
    return bundle
