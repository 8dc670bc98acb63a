"""The texture of every nucleus's haematoxylin: how its chromatin is spread."""

from __future__ import annotations

import cv2
import numpy as np

from app.pipeline.measure.pixels import NuclearPixels
from app.pipeline.measure.table import (
    CHROMATIN,
    CLUMP_SD,
    CLUMP_UM2,
    COARSE_UM,
    ENTROPY_STEP_OD,
    FINE_UM,
    GREY_LEVELS,
    GREY_STEP_OD,
    PAIR_UM,
)
from app.pipeline.types import Float32Array, Float64Array

N_BINS = 64
"""Bins of the histogram whose entropy is measured: up to a density of 3.2, which 8 bits of grey do not reach."""
_I, _J = np.indices((GREY_LEVELS, GREY_LEVELS))


def in_px(distance_um: float, mpp: float) -> int:
    """Return a distance in whole pixels, 1 at least."""
    return max(1, round(distance_um / mpp))


def frame_px(mpp: float) -> int:
    """Return the width of the frame that pixels need so that none of those they are compared with lies outside."""
    return max(1, *(in_px(distance, mpp) for distance in (FINE_UM, COARSE_UM, PAIR_UM)))


def measure_chromatin(
    pixels: NuclearPixels, haematoxylin: Float32Array, means: Float64Array, sds: Float64Array, mpp: float
) -> Float64Array:
    """Measure the chromatin of nuclei.

    Args:
        pixels: of N nuclei, in a frame of `frame_px`.
        haematoxylin: flattened optical densities in the same frame.
        means: (N,) of the densities of each nucleus.
        sds: (N,) their standard deviations.
        mpp: µm per pixel.

    Returns:
        (N, columns of CHROMATIN) float64; NaN where a formula has no value.
    """
    n = len(pixels.stretches)
    if not n:
        return np.zeros((0, len(CHROMATIN)))
    density = haematoxylin[pixels.places]
    columns = {
        "chromatin_contrast": _contrast(pixels, haematoxylin, density, in_px(FINE_UM, mpp)),
        "chromatin_contrast_coarse": _contrast(pixels, haematoxylin, density, in_px(COARSE_UM, mpp)),
        "chromatin_entropy": _entropy(pixels, density),
        **_haralick(pixels, density, in_px(PAIR_UM, mpp)),
        "edge_sharpness": _edge_sharpness(pixels, haematoxylin) / mpp,
        "dark_clumps": _dark_clumps(pixels, density, means + CLUMP_SD * sds, CLUMP_UM2 / mpp**2),
    }
    return np.column_stack([columns[measurement.name] for measurement in CHROMATIN])


def _contrast(pixels: NuclearPixels, picture: Float32Array, density: Float32Array, distance: int) -> Float64Array:
    differences, pairs = np.zeros(len(pixels.stretches)), np.zeros(len(pixels.stretches))
    for step in (distance, distance * pixels.row):
        same = pixels.same(step)
        differences += pixels.stretches.sums(np.abs(picture[pixels.places + step] - density) * same)
        pairs += pixels.stretches.sums(same.astype(np.int64))
    return _ratio(differences, pairs)


def _entropy(pixels: NuclearPixels, density: Float32Array) -> Float64Array:
    bins = (density / ENTROPY_STEP_OD).clip(0, N_BINS - 1).astype(np.int64)
    n = len(pixels.stretches)
    counts = np.bincount(pixels.stretches.owners * N_BINS + bins, minlength=n * N_BINS).reshape(n, N_BINS)
    share = counts / pixels.stretches.counts[:, None]
    return -(share * np.log2(share, out=np.zeros_like(share), where=share > 0)).sum(axis=1) + 0.0


def _haralick(pixels: NuclearPixels, density: Float32Array, distance: int) -> dict[str, Float64Array]:
    """Return Haralick's features by name, of pairs of pixels in four directions, each pair counted both ways."""
    n, size = len(pixels.stretches), GREY_LEVELS**2
    levels = (density / GREY_STEP_OD).clip(0, GREY_LEVELS - 1).astype(np.int32)
    picture = np.zeros(pixels.labels.size, np.int32)
    picture[pixels.places] = levels
    keys = (pixels.stretches.owners * size + levels * GREY_LEVELS).astype(np.int32)
    row, pairs = pixels.row * distance, np.zeros(n * size, np.int64)
    for step in (distance, row - distance, row, row + distance):
        same = pixels.same(step)
        pairs += np.bincount(keys[same] + picture[pixels.places[same] + step], minlength=n * size)
    table = pairs.reshape(n, GREY_LEVELS, GREY_LEVELS)
    table = table + table.transpose(0, 2, 1)
    p = _ratio(table, table.sum(axis=(1, 2), keepdims=True))
    mean = (p * _I).sum(axis=(1, 2))
    variance = (p * _I**2).sum(axis=(1, 2)) - mean**2
    return {
        "haralick_contrast": (p * (_I - _J) ** 2).sum(axis=(1, 2)),
        "haralick_correlation": _ratio(
            (p * _I * _J).sum(axis=(1, 2)) - mean**2, np.where(variance > 1e-9, variance, 0)
        ),
        "haralick_homogeneity": (p / (1 + (_I - _J) ** 2)).sum(axis=(1, 2)),
        "haralick_energy": (p**2).sum(axis=(1, 2)),
    }


def _edge_sharpness(pixels: NuclearPixels, picture: Float32Array) -> Float64Array:
    """Return the mean gradient on the outermost pixels, per px; beyond the tile's border the densities repeat."""
    outermost = pixels.outermost()
    places, owners = pixels.places[outermost], pixels.stretches.owners[outermost]
    along = (picture[places + 1] - picture[places - 1]) / 2
    down = (picture[places + pixels.row] - picture[places - pixels.row]) / 2
    n = len(pixels.stretches)
    return np.bincount(owners, weights=np.hypot(along, down), minlength=n) / np.bincount(owners, minlength=n)


def _dark_clumps(pixels: NuclearPixels, density: Float32Array, limits: Float64Array, min_px: float) -> Float64Array:
    dark = (density > np.repeat(limits, pixels.stretches.counts)) & ~pixels.outermost()
    mask = np.zeros(pixels.labels.shape, np.uint8)
    mask.ravel()[pixels.places[dark]] = 1
    n_clumps, clumps, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_32S)
    # Outermost pixels part the clumps of nuclei that touch, so each has one owner.
    owner = np.zeros(n_clumps, np.int64)
    owner[clumps.ravel()[pixels.places[dark]]] = pixels.stretches.owners[dark]
    large = np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] >= min_px) + 1
    return np.bincount(owner[large], minlength=len(pixels.stretches)).astype(np.float64)


def _ratio(above: np.ndarray, below: np.ndarray) -> Float64Array:
    """Divide, with NaN where there is nothing to divide by."""
    return np.divide(above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=below != 0)
