"""The tasks of a worker. Each reads files and writes whole files, so any worker can do it, and it can be repeated.

Workers may live for months, while batches, slides and bundles come and go under the same paths. So whatever a worker
keeps in memory is kept by its content: a manifest and a plan by their checksums, a slide by its identity on the disk.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2

from app.answer.provenance import code_version
from app.batch.analyse.cells import write_tile
from app.batch.analyse.tile import analyse_tile
from app.batch.folder import BatchFolder, BatchManifest, BatchSlide, read_manifest
from app.batch.plan.inputs import SlideChanged, inputs_of
from app.batch.plan.plan import Plan, read_plan
from app.batch.plan.prepare import prepare
from app.batch.plan.tissue import write_overview
from app.batch.read.fingerprint import Identity, fingerprint, identity
from app.batch.read.open import open_slide
from app.batch.read.slide import Slide, SlideError
from app.batch.run.resume import discard_outdated, existing_plan, finished_slide, missing_tiles
from app.batch.summary import SlideInputs
from app.batch.write.exchange import check_formats
from app.batch.write.geojson import write_slide_geojson
from app.batch.write.slide_results import publish_summary, write_slide
from app.files import remove_directory, remove_unfinished, write_whole
from app.pipeline.bundle.load import Bundle, load_bundle
from app.pipeline.errors import InvalidBundle, PipelineError
from app.pipeline.headers.inputs import FrameName
from app.pipeline.memory import keep_buffers


@dataclass(frozen=True, slots=True)
class Prepared:
    """A slide that has a plan.

    Attributes:
        inputs_sha256: the checksum of what the slide is made from; its other tasks are about these inputs alone.
        n_tiles: the number of its tiles.
        missing: the numbers of the tiles that are still to be analysed.
        is_finished: whether all of its results exist.
        change: what has changed since an earlier run, whose results were discarded; None if nothing has.
    """

    inputs_sha256: str
    n_tiles: int
    missing: tuple[int, ...]
    is_finished: bool
    change: str | None


def prepare_slide(path: Path, manifest: str, index: int) -> Prepared:
    """Find out what of a slide is to be done, and write its plan unless it exists.

    Args:
        path: the folder of the batch.
        manifest: the SHA-256 of the batch's manifest.
        index: the place of the slide in it.

    Raises:
        PipelineError, OSError, MemoryError: the slide cannot be prepared.
    """
    folder, batch, source = _at(path, manifest, index)
    if source.refused:
        raise SlideError(source.refused)
    remove_unfinished(folder.results(source.slide))
    inputs = inputs_of(source, batch)
    if summary := finished_slide(folder, inputs):
        _tidy(folder, source.slide)
        return Prepared(inputs.sha256, summary.tiles, (), is_finished=True, change=None)
    change = discard_outdated(folder, inputs)
    try:
        plan = existing_plan(folder, inputs) or _planned(folder, source, batch, inputs, change)
    except PipelineError as error:
        if change is None:
            raise
        raise SlideError(f"{change} {error}") from error
    return Prepared(inputs.sha256, len(plan.tiles), missing_tiles(folder, plan), is_finished=False, change=plan.change)


def analyse_slide_tile(path: Path, manifest: str, index: int, inputs_sha256: str, number: int) -> None:
    """Find the cells of one tile of a slide, and write them.

    Args:
        path: the folder of the batch.
        manifest: the SHA-256 of the batch's manifest.
        index: the place of the slide in it.
        inputs_sha256: the checksum of the slide's inputs.
        number: the number of the tile.

    Raises:
        PipelineError, OSError, MemoryError: the tile cannot be analysed.
    """
    folder, batch, source = _at(path, manifest, index)
    plan = _plan(folder.plan(source.slide), inputs_sha256)
    with _unchanged(source, batch, plan.inputs) as slide:
        cells = analyse_tile(slide, plan, number, _bundle(batch), batch.precision, folder.nuclei(source.slide))
    write_tile(cells, folder.tile(source.slide, number), inputs_sha256)


def write_results(path: Path, manifest: str, index: int, inputs_sha256: str) -> None:
    """Write the results of a slide from the cells of its tiles, apart from the GeoJSON.

    Args:
        path: the folder of the batch.
        manifest: the SHA-256 of the batch's manifest.
        index: the place of the slide in it.
        inputs_sha256: the checksum of the slide's inputs.

    Raises:
        PipelineError, OSError, MemoryError: the results cannot be written.
    """
    folder, batch, source = _at(path, manifest, index)
    plan = _plan(folder.plan(source.slide), inputs_sha256)
    with _unchanged(source, batch, plan.inputs) as slide:
        write_slide(slide, source, folder, _bundle(batch), batch)


def write_outlines(path: Path, manifest: str, index: int, inputs_sha256: str) -> None:
    """Write the GeoJSON of a slide from the cells of its tiles.

    Args:
        path: the folder of the batch.
        manifest: the SHA-256 of the batch's manifest.
        index: the place of the slide in it.
        inputs_sha256: the checksum of the slide's inputs.

    Raises:
        PipelineError, OSError, MemoryError: the file cannot be written.
    """
    folder, batch, source = _at(path, manifest, index)
    _plan(folder.plan(source.slide), inputs_sha256)
    write_slide_geojson(source.slide, folder, _bundle(batch), batch)


def finish_slide(path: Path, manifest: str, index: int, inputs_sha256: str) -> None:
    """Write the summary of a slide, whose other results exist, and remove what only they needed.

    Args:
        path: the folder of the batch.
        manifest: the SHA-256 of the batch's manifest.
        index: the place of the slide in it.
        inputs_sha256: the checksum of the slide's inputs.

    Raises:
        SlideChanged: the slide or its regions are no longer those that were analysed.
        PipelineError, OSError: the summary cannot be written.
    """
    folder, batch, source = _at(path, manifest, index)
    inputs = inputs_of(source, batch)
    if inputs.sha256 != inputs_sha256:
        raise SlideChanged
    publish_summary(folder, inputs, batch)
    _tidy(folder, source.slide)


def _at(path: Path, manifest: str, index: int) -> tuple[BatchFolder, BatchManifest, BatchSlide]:
    batch = read_manifest(path, manifest)
    return BatchFolder(path), batch, batch.slides[index]


def _planned(
    folder: BatchFolder, source: BatchSlide, batch: BatchManifest, inputs: SlideInputs, change: str | None
) -> Plan:
    """Make and write the plan of a slide and its overview; the plan keeps what has changed until that was said."""
    with _unchanged(source, batch, inputs) as slide:
        check_formats(slide, source, batch)
        plan, overview = prepare(slide, inputs, source, batch, _bundle(batch), folder.nuclei(source.slide))
    plan = plan.model_copy(update={"change": change})
    write_overview(overview, folder.overview(source.slide))
    write_whole(plan.model_dump_json().encode(), folder.plan(source.slide))
    return plan


def _tidy(folder: BatchFolder, slide: str) -> None:
    """Remove the files that a finished slide no longer needs; if a disk refuses that, the next run tries again."""
    with suppress(OSError):
        remove_directory(folder.unfinished(slide))


@contextmanager
def _unchanged(source: BatchSlide, batch: BatchManifest, inputs: SlideInputs) -> Iterator[Slide]:
    """Open a slide, and make sure that it is the very slide of these inputs before and after it was read.

    Raises:
        SlideChanged: it is not, so what was read of it must not be used.
    """
    path = Path(source.path)
    before = identity(path)
    slide, sha256 = _opened(path, batch.max_pixels, batch.frame, before)
    if sha256 != inputs.fingerprint:
        raise SlideChanged
    try:
        yield slide
    finally:
        # Some network disks give a file another inode now and then, and somebody may touch it.
        if identity(path) != before and fingerprint(path).sha256 != inputs.fingerprint:
            raise SlideChanged


@lru_cache(maxsize=2)
def _opened(path: Path, max_pixels: int, frame: FrameName, on_disk: Identity) -> tuple[Slide, str]:
    """Open a slide and compute its fingerprint; it stays open for its next tile, as a worker does one task at a time.

    Args:
        path: the file or folder of the slide.
        max_pixels: the largest PNG or JPEG.
        frame: which part of its canvas is analysed.
        on_disk: the identity of the slide; another one under the same path is opened anew.
    """
    return open_slide(path, max_pixels, frame), fingerprint(path).sha256


@lru_cache(maxsize=2)
def _plan(path: Path, inputs_sha256: str) -> Plan:
    plan = read_plan(path)
    if plan.inputs.sha256 != inputs_sha256:
        raise SlideChanged
    return plan


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
    if batch.precision not in bundle.backend.precisions:
        raise InvalidBundle(
            f"Worker {platform.node()} cannot compute the network in 8-bit integers as the other machines do; choose "
            "--precision full, and another --out."
        )
    return bundle
