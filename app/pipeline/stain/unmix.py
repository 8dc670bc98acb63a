"""Tile → Stain: normalise its colours and separate its haematoxylin, by our own engine or by HistomicsTK's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from app.pipeline.errors import EngineUnavailable
from app.pipeline.presets import Engine, StainParams
from app.pipeline.stain.macenko import haematoxylin_image, macenko, stain_spread_deg
from app.pipeline.stain.normalise import lab_statistics, reinhard
from app.pipeline.stain.optical_density import is_seen, is_tissue, nuclear_density
from app.pipeline.stain.transfer import transferred
from app.pipeline.types import BoolArray, Float64Array, LabStatistics, Later, Stain, StainEstimate, UInt8Array


@dataclass(frozen=True, slots=True)
class StainEngine:
    """The three steps that an engine computes.

    Attributes:
        reinhard: see `normalise.reinhard`.
        macenko: see `macenko.macenko`.
        haematoxylin_image: see `macenko.haematoxylin_image`.
    """

    reinhard: Callable[[UInt8Array, LabStatistics, LabStatistics], UInt8Array]
    macenko: Callable[..., Float64Array | None]
    haematoxylin_image: Callable[[UInt8Array, Float64Array], UInt8Array]


NATIVE = StainEngine(reinhard, macenko, haematoxylin_image)


def stain_engine(name: Engine) -> StainEngine:
    """Return the engine of this name.

    Raises:
        EngineUnavailable: HistomicsTK is not installed.
    """
    if name == "native":
        return NATIVE
    try:
        from app.pipeline.stain import histomicstk
    except ImportError as error:
        raise EngineUnavailable(
            "The bundle asks for segmentation.engine 'histomicstk', and HistomicsTK is not installed."
        ) from error
    return StainEngine(histomicstk.reinhard, histomicstk.macenko, histomicstk.haematoxylin_image)


def unmix(
    pixels: UInt8Array, params: StainParams, engine: Engine = "native", estimate: StainEstimate | None = None
) -> Stain:
    """Normalise a tile's colours, and separate its haematoxylin when it is asked for.

    In a bundle that is adapted to a laboratory, the tile is first made to look like the training tiles.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        params: target statistics and Macenko's limits.
        engine: "native", or "histomicstk" for the reference implementation.
        estimate: measured on a larger image that the tile belongs to; by default it is measured on the tile.

    Raises:
        EngineUnavailable: the engine is not installed.
    """
    steps = stain_engine(engine)
    pixels = transferred(pixels, params.transfer)
    tissue = used_pixels(pixels, params)
    if estimate is None:
        counted = masked_pixels(smoothed(pixels, params.smoothing_px), tissue)
        lab = lab_statistics(counted)
    else:
        lab = estimate.lab
    if lab is None:
        return unstained(pixels, tissue)
    normalised = steps.reinhard(pixels, lab, target_of(params))
    matrix = stain_matrix(counted, lab, params, steps) if estimate is None else estimate.stain_matrix
    if matrix is None:
        return unstained(normalised, tissue)

    def separate() -> tuple[UInt8Array, StainEstimate | None]:
        haematoxylin = haematoxylin_of(normalised, tissue, matrix, params, steps)
        return haematoxylin, estimate or StainEstimate(lab, matrix, nuclear_density(haematoxylin, tissue))

    return Stain(normalised, tissue, matrix, Later(separate))


def unstained(normalised: UInt8Array, tissue: BoolArray) -> Stain:
    """Return a tile in which two stains cannot be distinguished.

    Args:
        normalised: (H, W, 3) uint8 RGB.
        tissue: (H, W) bool.
    """
    return Stain(normalised, tissue, None, Later(lambda: (np.full(tissue.shape, 255, np.uint8), None)))


def used_pixels(pixels: UInt8Array, params: StainParams) -> BoolArray:
    """Return which pixels of a tile its statistics are taken of: those of tissue, or all that are not black.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        params: says which of the two.

    Returns:
        (H, W) bool.
    """
    return is_tissue(pixels, params.min_magnitude) if params.tissue_only else is_seen(pixels)


def target_of(params: StainParams) -> LabStatistics:
    """Return the statistics that normalisation aims at."""
    return LabStatistics(np.asarray(params.target_mean), np.asarray(params.target_sd))


def stain_matrix(
    counted: UInt8Array, lab: LabStatistics, params: StainParams, steps: StainEngine
) -> Float64Array | None:
    """Estimate the stain vectors of pixels after their normalisation.

    Args:
        counted: (N, 3) uint8 RGB, the pixels that are used, before normalisation.
        lab: their statistics.
        params: target statistics and Macenko's limits.
        steps: a stain engine.

    Returns:
        (3, 2) float64, or None where two stains cannot be distinguished.
    """
    magnitude, percentiles = params.min_magnitude, params.angle_percentiles
    if stain_spread_deg(counted, min_magnitude=magnitude, angle_percentiles=percentiles) < params.min_angle_deg:
        return None
    normalised = steps.reinhard(counted[:, None], lab, target_of(params))[:, 0]
    return steps.macenko(normalised, min_magnitude=magnitude, angle_percentiles=percentiles)


def haematoxylin_of(
    normalised: UInt8Array, tissue: BoolArray, matrix: Float64Array, params: StainParams, steps: StainEngine
) -> UInt8Array:
    """Render the haematoxylin of a normalised tile, and none outside the tissue where the bundle asks for that.

    Args:
        normalised: (H, W, 3) uint8 RGB.
        tissue: (H, W) bool.
        matrix: (3, 2) stain vectors.
        params: smoothing of the chroma, and whether only tissue is used.
        steps: a stain engine.

    Returns:
        (H, W) uint8, 255 = none, dark = stained.
    """
    # Glass is made white before chroma is smoothed, so that what lies beyond the tissue cannot change what lies in it.
    stained = on_white(normalised, tissue) if params.tissue_only else normalised
    haematoxylin = steps.haematoxylin_image(with_smooth_chroma(stained, params.chroma_smoothing_px), matrix)
    return on_white(haematoxylin, tissue) if params.tissue_only else haematoxylin


def on_white(image: UInt8Array, tissue: BoolArray) -> UInt8Array:
    """Return an image, (H, W) or (H, W, 3) uint8, with white where there is no tissue."""
    return np.asarray(cv2.copyTo(image, tissue.view(np.uint8), np.full_like(image, 255)), dtype=np.uint8)


def masked_pixels(pixels: UInt8Array, mask: BoolArray) -> UInt8Array:
    """Return the pixels for which a mask holds, row by row.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        mask: (H, W) bool.

    Returns:
        (N, 3) uint8.
    """
    # numpy picks four-byte words several times as fast as triples of bytes.
    words = cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA).view(np.uint32)[..., 0][mask]
    if words.size == 0:
        return np.zeros((0, 3), np.uint8)
    # OpenCV goes row by row: as one row, the pixels take a tenth of the time that they take as a column.
    return np.asarray(cv2.cvtColor(words.view(np.uint8).reshape(1, -1, 4), cv2.COLOR_RGBA2RGB)[0], dtype=np.uint8)


def smoothed(pixels: UInt8Array, sigma: float) -> UInt8Array:
    """Smooth a tile with a Gaussian, as if there were glass beyond its border.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        sigma: standard deviation of the Gaussian, px; 0 leaves the tile as it is.
    """
    if sigma == 0:
        return pixels
    margin = int(np.ceil(4 * sigma))
    framed = cv2.copyMakeBorder(pixels, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    return np.ascontiguousarray(cv2.GaussianBlur(framed, (0, 0), sigma)[margin:-margin, margin:-margin], dtype=np.uint8)


def with_smooth_chroma(pixels: UInt8Array, sigma: float) -> UInt8Array:
    """Smooth a tile's chroma with a Gaussian and keep its luma; JPEG with half the resolution of chroma looks alike.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        sigma: standard deviation of the Gaussian, px; 0 leaves the tile as it is.
    """
    if sigma == 0:
        return pixels
    sharp = cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb)
    smooth = cv2.cvtColor(smoothed(pixels, sigma), cv2.COLOR_RGB2YCrCb)
    cv2.mixChannels([sharp], [smooth], [0, 0])
    return np.asarray(cv2.cvtColor(smooth, cv2.COLOR_YCrCb2RGB), dtype=np.uint8)
