"""Tile → Nuclei: stains, then one of two ways to find nuclei (paper §III-B1)."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import cv2
import numpy as np

from app.pipeline.errors import EngineUnavailable
from app.pipeline.nuclei.levels import segment_by_levels
from app.pipeline.nuclei.measure import measure
from app.pipeline.presets import Engine, SegmentationParams, StainParams, ThresholdParams
from app.pipeline.stain import native as stain
from app.pipeline.stain.optical_density import is_seen, is_tissue, nuclear_density
from app.pipeline.types import BoolArray, LabStatistics, Nuclei, Stain, StainEstimate, UInt8Array


def unmix(
    pixels: UInt8Array, params: StainParams, engine: Engine = "native", estimate: StainEstimate | None = None
) -> Stain:
    """Normalise a tile's colours and separate its haematoxylin.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        params: target statistics and Macenko's limits.
        engine: "native", or "histomicstk" for the reference implementation.
        estimate: measured on a larger image that the tile is part of; by default it is measured on the tile.

    Raises:
        EngineUnavailable: the engine is not installed.
    """
    source = stain_engine(engine)
    tissue = is_tissue(pixels, params.min_magnitude) if params.tissue_only else is_seen(pixels)
    if estimate is None:
        counted = stain.counted_pixels(stain.smoothed(pixels, params.smoothing_px), tissue)
        lab = stain.lab_statistics(counted)
    else:
        lab = estimate.lab
    if lab is None:
        return _unstained(pixels, tissue)
    target = LabStatistics(np.asarray(params.target_mean), np.asarray(params.target_sd))
    normalised = source.reinhard(pixels, lab, target)
    if estimate is None:
        matrix = stain_matrix(counted, source.reinhard(counted[:, None], lab, target)[:, 0], params, source)
        if matrix is None:
            return _unstained(normalised, tissue)
    else:
        matrix = estimate.stain_matrix
    # Glass is made white before chroma is smoothed: what lies beyond it can then not change what lies within.
    stained = on_white(normalised, tissue) if params.tissue_only else normalised
    haematoxylin = source.haematoxylin_image(stain.with_smooth_chroma(stained, params.chroma_smoothing_px), matrix)
    if params.tissue_only:
        haematoxylin = on_white(haematoxylin, tissue)
    if estimate is None:
        estimate = StainEstimate(lab, matrix, nuclear_density(haematoxylin, tissue))
    return Stain(normalised, haematoxylin, tissue, estimate)


def stain_matrix(
    counted: UInt8Array, normalised: UInt8Array, params: StainParams, source: ModuleType
) -> np.ndarray | None:
    """Stain vectors of pixels, or None where two stains cannot be told apart.

    Args:
        counted: (N, 3) uint8 RGB, those that count, as they came.
        normalised: the same after normalisation.
        params: Macenko's limits.
        source: a stain engine.
    """
    limits: dict[str, Any] = {"min_magnitude": params.min_magnitude, "angle_percentiles": params.angle_percentiles}
    if stain.stain_spread_deg(counted, **limits) < params.min_angle_deg:
        return None
    matrix: np.ndarray | None = source.macenko(normalised, **limits)
    return matrix


def on_white(image: UInt8Array, tissue: BoolArray) -> UInt8Array:
    """An image, (H, W) or (H, W, 3) uint8, white where there is no tissue."""
    return np.asarray(cv2.copyTo(image, tissue.view(np.uint8), np.full_like(image, 255)), dtype=np.uint8)


def _unstained(normalised: UInt8Array, tissue: np.ndarray) -> Stain:
    return Stain(normalised, np.full(tissue.shape, 255, np.uint8), tissue, None)


def segment(stains: Stain, params: SegmentationParams) -> Nuclei:
    """Find the nuclei of an unmixed tile.

    Args:
        stains: result of `unmix`.
        params: of the paper's threshold, or of the levels of density.

    Returns:
        Nuclei in reading order of their topmost pixel; none for a degenerate tile.
    """
    if stains.estimate is None:
        return measure(np.zeros(stains.haematoxylin.shape, np.int32))
    if isinstance(params, ThresholdParams):
        # Only a bundle that asks for it pays for the import of scipy.ndimage and scikit-image.
        from app.pipeline.nuclei.threshold import segment_by_threshold

        return measure(segment_by_threshold(stains.haematoxylin, params))
    return measure(segment_by_levels(stains.haematoxylin, stains.estimate.nuclear_density, params))


def stain_engine(name: Engine) -> ModuleType:
    """The module that computes stains: `stain` itself, or the one that asks HistomicsTK.

    Raises:
        EngineUnavailable: HistomicsTK is not installed.
    """
    if name == "native":
        return stain
    try:
        from app.pipeline.stain import histomicstk as histomicstk_engine
    except ImportError as error:
        raise EngineUnavailable(
            "The bundle asks for segmentation.engine 'histomicstk', and HistomicsTK is not installed."
        ) from error
    return histomicstk_engine
