"""All stages in order: bytes → Tile → Stain → Nuclei → crops → clusters → Label, together an Analysis."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import compress
from threading import Thread
from time import perf_counter
from typing import TypeVar

import numpy as np

from app.pipeline.bundle.load import Bundle
from app.pipeline.cell_types import CellTypes, classify
from app.pipeline.corrections import Corrections, cells_sha256, check_cells, check_known, correct
from app.pipeline.crops import crop_cells
from app.pipeline.decode import decode
from app.pipeline.errors import TileTooLarge
from app.pipeline.geometry import Cells, rescale
from app.pipeline.label.decide import Label, decide_label
from app.pipeline.manifest import Manifest
from app.pipeline.measure.cells import Measurements, distance, measure_cells, medians
from app.pipeline.measure.table import INDEX
from app.pipeline.measure.very_large import VeryLargeNucleus, find_very_large
from app.pipeline.memory import memory_errors
from app.pipeline.networks.backend import Precision
from app.pipeline.networks.encode import Encoded, encode, rounded_features
from app.pipeline.nuclei.border import cut_by_more_than_half
from app.pipeline.nuclei.measure import select_nuclei
from app.pipeline.nuclei.outlines import contours
from app.pipeline.nuclei.segment import segment
from app.pipeline.presets import NetworkParams
from app.pipeline.proportions import Proportions, summarise
from app.pipeline.quality.assess import Flag, Quality, assess, cell_flags
from app.pipeline.stain.unmix import unmix
from app.pipeline.tissue.classes import Tissue
from app.pipeline.tissue.compose import compose
from app.pipeline.types import BoolArray, Float32Array, Int32Array, Nuclei, Segmentation, Stain, Tile, UInt8Array
from app.pipeline.uploaded_nuclei.read import UploadedNuclei, read_nuclei

T = TypeVar("T")

STAGES = ("decode", "segment", "quality", "measure", "encode", "label", "total")


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything that is known about a tile.

    Attributes:
        tile: the upload.
        quality: measures of the tile, and its flags.
        cells: one for each nucleus that the border does not cut by more than half, in pixels of the upload.
        measurements: of every cell, a row each.
        very_large: nuclei that may be those of megakaryocytes, the largest first; members are numbers of cells.
        tissue: what the tile consists of.
        n_cut: how many nuclei the border cuts by more than half.
        proportions: how the cells fall into clusters.
        label: normal, abnormal or indeterminate.
        segmentation: what found the nuclei.
        timing_ms: milliseconds by stage; quality is judged while nuclei are sought, and nuclei are measured while Q
            runs.
        precision: which of the bundle's Qs was asked.
        features: (N, F) float32, what Q's encoder sees of each cell; None where Q has no encoder of its own, and where
            there is no cell.
        types: the types of the cells; None where the bundle has no cell classifier.
        corrections: the types that a person has given to some of them, and who; None where nobody has.
    """

    tile: Tile
    quality: Quality
    cells: Cells
    measurements: Measurements
    very_large: list[VeryLargeNucleus]
    tissue: Tissue
    n_cut: int
    proportions: Proportions
    label: Label
    segmentation: Segmentation
    timing_ms: dict[str, float]
    precision: Precision
    features: Float32Array | None = None
    types: CellTypes | None = None
    corrections: Corrections | None = None


@dataclass(frozen=True, slots=True)
class Stages:
    """What the stages of an analysis made of a tile, at the analysed scale.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        stains: the normalised and unmixed tile.
        nuclei: those of the cells.
        crops: (N, 32, 32, C) uint8, one for each cell, of the kind that the bundle sees.
        surprise: (N,) float32, how unlike the training cells each of them is.
    """

    pixels: UInt8Array
    stains: Stain
    nuclei: Nuclei
    crops: UInt8Array
    surprise: Float32Array


@dataclass(frozen=True, slots=True)
class Measured:
    """What is measured while Q runs.

    Attributes:
        cells: of every cell, a row each.
        very_large: the candidates among the cells.
        tissue: what the tile consists of.
        outlines: of every cell; see `nuclei.outlines.contours`.
    """

    cells: Measurements
    very_large: list[VeryLargeNucleus]
    tissue: Tissue
    outlines: list[Int32Array]


def analyse(
    data: bytes,
    bundle: Bundle,
    *,
    max_pixels: int,
    mpp: float | None = None,
    precision: Precision = "fast",
    nuclei: bytes | None = None,
    corrections: Corrections | None = None,
) -> Analysis:
    """Decode an upload, find its cells, sort them into clusters, and label the tile.

    Args:
        data: the uploaded bytes.
        bundle: parameters and networks.
        max_pixels: largest number of pixels, as uploaded and at the bundle's scale.
        mpp: µm per pixel of the upload; None takes the tile to be at the bundle's scale.
        precision: which Q to ask; where the backend has no fast one, the full one is asked.
        nuclei: the uploaded bytes of nuclei to take instead of seeking them; see `uploaded_nuclei.read.read_nuclei`.
        corrections: the types that a person has given to cells; None if nobody has.

    Raises:
        PipelineError: the subclass says which stage refuses the upload, and why.
        MemoryError: there is too little memory.
    """
    return analyse_stages(
        data, bundle, max_pixels=max_pixels, mpp=mpp, precision=precision, nuclei=nuclei, corrections=corrections
    )[0]


def analyse_stages(
    data: bytes,
    bundle: Bundle,
    *,
    max_pixels: int,
    mpp: float | None = None,
    precision: Precision = "fast",
    nuclei: bytes | None = None,
    corrections: Corrections | None = None,
) -> tuple[Analysis, Stages]:
    """Do what `analyse` does, and return the values of the stages too."""
    manifest = bundle.manifest
    if corrections is not None:  # refused before the tile is analysed, if that can be
        check_known(corrections.cells, manifest)
    timing = dict.fromkeys(STAGES, 0.0)
    with memory_errors(), _timed(timing, "total"):
        with _timed(timing, "decode"):
            tile = decode(data, max_pixels=max_pixels, mpp=mpp)
            factor = 1.0 if tile.mpp is None else tile.mpp / manifest.mpp
            pixels = _at_bundles_scale(tile, factor, max_pixels)
            uploaded = None if nuclei is None else read_nuclei(nuclei, tile, max_pixels)
        with _timed(timing, "segment"):
            stain = manifest.segmentation.stain
            stains = unmix(pixels, stain, manifest.segmentation.engine)
            if not isinstance(manifest.segmentation, NetworkParams):
                stains.separated()  # the search for nuclei and the quality both begin with it
            judging = _begin(
                timing,
                "quality",
                lambda: assess(tile, pixels, stains, stain, manifest.quality),
            )
            found, upload_flags = _nuclei_of(tile, stains, bundle, uploaded)
            is_kept = ~cut_by_more_than_half(found)
            kept = select_nuclei(found, is_kept)
        analysed_mpp = _analysed_mpp(tile, pixels, manifest)
        measuring = _begin(timing, "measure", lambda: _measure(pixels, stains, found, kept, is_kept, analysed_mpp))
        with _timed(timing, "encode"):
            crops = crop_cells(stains.normalised, kept, manifest.architecture.crops)
            encoded = encode(crops, bundle.backend, manifest.n_clusters, precision, manifest.temperature)
        with _timed(timing, "label"):
            proportions = summarise(encoded.cluster_probs, encoded.surprise > manifest.outliers.threshold)
            quality, measured = judging.result(), measuring.result()
            counted = measured.cells.values[~proportions.outlier]
            afar = distance(counted.T, manifest.reference_ranges)
            of_cells = cell_flags(proportions, encoded.surprise, manifest.outliers, afar)
            quality = replace(quality, flags=quality.flags + of_cells + upload_flags)
            doubts = [flag.message for flag in quality.flags if flag.prevents_label]
            names = [one.measurement for one in manifest.image_level.measurements]
            known = medians(counted, names)
            label = decide_label(proportions.values, proportions.n_counted, manifest.image_level, doubts, known)
            cells = Cells.of_tile(kept, encoded.cluster_probs, tile, measured.outlines)
            types = _types(encoded, measured.cells, kept, manifest)
            if types is not None and corrections is not None:
                check_cells(corrections, cells_sha256(tile.sha256, bundle.sha256, kept.bboxes), manifest)
                types = correct(types, corrections, proportions.outlier, manifest)
    analysis = Analysis(
        tile=tile,
        quality=quality,
        cells=cells,
        measurements=measured.cells,
        tissue=measured.tissue,
        very_large=measured.very_large,
        n_cut=len(found) - len(kept),
        proportions=proportions,
        label=label,
        segmentation=manifest.own_segmentation if uploaded is None else uploaded.segmentation,
        timing_ms=timing,
        precision=encoded.precision,
        features=encoded.features,
        types=types,
        corrections=corrections,
    )
    return analysis, Stages(pixels, stains, kept, crops, encoded.surprise)


def _at_bundles_scale(tile: Tile, factor: float, max_pixels: int) -> UInt8Array:
    try:
        return rescale(tile.pixels, factor, max_pixels=max_pixels)
    except TileTooLarge as error:
        if tile.mpp is None or tile.requested_mpp is not None:
            raise
        raise TileTooLarge(
            f"{error} The file says that a pixel has {tile.mpp:.4g} µm ({tile.mpp_source}); if that is wrong, give mpp."
        ) from error


def _analysed_mpp(tile: Tile, pixels: UInt8Array, manifest: Manifest) -> float:
    """Return the µm per pixel of the analysed tile: the bundle's, but for the rounding of the tile's size."""
    if tile.mpp is None:
        return manifest.mpp
    return float(tile.mpp * math.sqrt(tile.width * tile.height / (pixels.shape[0] * pixels.shape[1])))


def _measure(
    pixels: UInt8Array, stains: Stain, found: Nuclei, kept: Nuclei, is_kept: BoolArray, mpp: float
) -> Measured:
    # Nuclei that the border cuts are no cells, but they are neighbours and no cytoplasm, and have cells round them.
    outlines = contours(found)
    cells = measure_cells(stains, found, mpp, outlines).select(is_kept)
    very_large = find_very_large(kept, mpp)
    return Measured(cells, very_large, compose(pixels, stains, found, mpp), list(compress(outlines, is_kept)))


def _types(encoded: Encoded, measured: Measurements, nuclei: Nuclei, manifest: Manifest) -> CellTypes | None:
    """Return the types of the cells; None where the bundle has no cell classifier."""
    classifier = manifest.cell_classifier
    if classifier is None:
        return None
    features = np.zeros((0, manifest.n_features), np.float32) if encoded.features is None else encoded.features
    # As answers and tables show both, from which the same types can then be had.
    values = measured.shown(scale_known=True)[:, [INDEX[name] for name in classifier.measurements]]
    return classify(rounded_features(features), values, nuclei.centroids, classifier)


def _nuclei_of(
    tile: Tile, stains: Stain, bundle: Bundle, uploaded: UploadedNuclei | None
) -> tuple[Nuclei, tuple[Flag, ...]]:
    """Return the nuclei that were uploaded, or else those that the bundle finds; and the flags of the upload."""
    params = bundle.manifest.segmentation
    if uploaded is None:
        return segment(stains, params, bundle.segmenter), ()
    return uploaded.draw(tile, stains.haematoxylin.shape, params)


def _begin(timing: dict[str, float], stage: str, work: Callable[[], T]) -> Future[T]:
    """Do the work of a stage beside what follows: on two cores that saves a tenth of the time of a tile.

    An executor would keep the tile in its queue if the system starts no thread, and do the work when its request has
    long been refused.

    Raises:
        RuntimeError: the system starts no more threads.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            with _timed(timing, stage):
                result = work()
            future.set_result(result)
        except BaseException as error:  # whoever waits for the result gets it
            future.set_exception(error)

    Thread(target=run, name=stage).start()
    return future


@contextmanager
def _timed(timing: dict[str, float], stage: str) -> Iterator[None]:
    start = perf_counter()
    try:
        yield
    finally:
        timing[stage] = (perf_counter() - start) * 1000
