"""The texture of every nucleus's haematoxylin: how its chromatin is spread."""

from __future__ import annotations

import numpy as np

from app.pipeline.measure.density import HIGHEST_LEVEL, LOWEST_OD, STEP_OD, Levels
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
from app.pipeline.nuclei.run_lengths import RunLengths, connect
from app.pipeline.types import Float64Array, Int64Array

N_BINS = 64
"""Bins of the histogram whose entropy is measured: up to a density of 3.2, which 8 bits of grey do not reach."""
_I, _J = np.indices((GREY_LEVELS, GREY_LEVELS)).reshape(2, -1)
_HARALICK_SUMS = np.column_stack([_I, _I**2, _I * _J, (_I - _J) ** 2, 1 / (1 + (_I - _J) ** 2)]).astype(np.float64)
NO_VARIANCE = 1e-9


def _bins(step_od: float, number: int) -> np.ndarray:
    """Return the bin of every level, when bins are `step_od` wide and the first begins at a density of 0."""
    density = np.arange(HIGHEST_LEVEL + 1) * STEP_OD + LOWEST_OD
    return np.asarray(np.floor(density / step_od + 1e-6).clip(0, number - 1), dtype=np.int16)


ENTROPY_BIN, GREY_LEVEL = _bins(ENTROPY_STEP_OD, N_BINS), _bins(GREY_STEP_OD, GREY_LEVELS)


def in_px(distance_um: float, mpp: float) -> int:
    """Return a distance in whole pixels, 1 at least."""
    return max(1, round(distance_um / mpp))


def frame_px(mpp: float) -> int:
    """Return the width of the frame that pixels need so that none of those they are compared with lies outside."""
    return max(1, *(in_px(distance, mpp) for distance in (FINE_UM, COARSE_UM, PAIR_UM)))


def measure_chromatin(
    pixels: NuclearPixels, haematoxylin: Levels, means: Float64Array, sds: Float64Array, mpp: float
) -> Float64Array:
    """Measure the chromatin of nuclei.

    Args:
        pixels: of N nuclei, in a frame of `frame_px`, with their levels of density.
        haematoxylin: (H, W) int16 levels of the tile.
        means: (N,) mean density of each nucleus.
        sds: (N,) standard deviation of its densities.
        mpp: µm per pixel.

    Returns:
        (N, columns of CHROMATIN) float64; NaN where a formula has no value.
    """
    if not len(pixels.stretches):
        return np.zeros((0, len(CHROMATIN)))
    columns = {
        "chromatin_contrast": _contrast(pixels, in_px(FINE_UM, mpp)),
        "chromatin_contrast_coarse": _contrast(pixels, in_px(COARSE_UM, mpp)),
        "chromatin_entropy": _entropy(pixels),
        **_haralick(pixels, in_px(PAIR_UM, mpp)),
        "edge_sharpness": _edge_sharpness(pixels, haematoxylin) / mpp,
        "dark_clumps": _dark_clumps(pixels, haematoxylin.shape[1], means + CLUMP_SD * sds, CLUMP_UM2 / mpp**2),
    }
    return np.column_stack([columns[measurement.name] for measurement in CHROMATIN])


def _contrast(pixels: NuclearPixels, distance: int) -> Float64Array:
    """Return (N,) the mean absolute difference of the densities of pixels so far apart along x or y."""
    total, pairs = np.zeros(len(pixels.stretches)), np.zeros(len(pixels.stretches))
    for step in (distance, distance * pixels.down):
        partners = pixels.copies[pixels.places + step]
        differences = np.abs(partners - pixels.levels)
        inside = partners >= 0
        total += pixels.stretches.sums(differences * inside)
        pairs += pixels.stretches.sums(inside)
    return _ratio(total * STEP_OD, pairs)


def _entropy(pixels: NuclearPixels) -> Float64Array:
    """Return (N,) the Shannon entropy of the histogram of densities, bits."""
    shape = (len(pixels.stretches), N_BINS)
    counts = np.bincount(pixels.owners * N_BINS + ENTROPY_BIN[pixels.levels], minlength=shape[0] * N_BINS)
    share = counts.reshape(shape) / pixels.stretches.counts[:, None]
    bits = np.log2(share, out=np.zeros(shape), where=share > 0)
    return np.asarray(np.abs((share * bits).sum(axis=1)))


def _haralick(pixels: NuclearPixels, distance: int) -> dict[str, Float64Array]:
    """Return Haralick's features by name, of pairs of pixels in four directions, each pair counted both ways."""
    table = _grey_pairs(pixels, distance)
    p = (table + table.transpose(0, 2, 1)).reshape(len(table), -1).astype(np.float64)
    p = _ratio(p, p.sum(axis=1, keepdims=True))
    mean, squares, products, contrast, homogeneity = (p @ _HARALICK_SUMS).T
    variance = squares - mean**2
    return {
        "haralick_contrast": contrast,
        "haralick_correlation": _ratio(products - mean**2, np.where(variance > NO_VARIANCE, variance, 0)),
        "haralick_homogeneity": homogeneity,
        "haralick_energy": np.einsum("np,np->n", p, p),
    }


def _grey_pairs(pixels: NuclearPixels, distance: int) -> Int64Array:
    """Return (N, levels, levels) int64, how many pairs of a nucleus's pixels have each two grey levels."""
    n, down = len(pixels.stretches), pixels.down * distance
    first = (pixels.owners * GREY_LEVELS + GREY_LEVEL[pixels.levels]) * GREY_LEVELS
    counts = np.zeros(n * GREY_LEVELS**2 + 1, np.int64)
    for step in (distance, down - distance, down, down + distance):
        partners = pixels.copies[pixels.places + step]
        pairs = first + GREY_LEVEL[partners]
        # A pair with a pixel outside the nucleus goes into one more bin, which is left out.
        pairs[partners < 0] = len(counts) - 1
        counts += np.bincount(pairs, minlength=len(counts))
    return counts[:-1].reshape(n, GREY_LEVELS, GREY_LEVELS)


def _edge_sharpness(pixels: NuclearPixels, haematoxylin: Levels) -> Float64Array:
    """Return (N,) the mean gradient on the outermost pixels, OD per px; beyond the tile the densities repeat."""
    at, owners = pixels.in_tile[pixels.outermost], pixels.owners[pixels.outermost]
    (height, width), levels = haematoxylin.shape, haematoxylin.ravel()
    y, x = np.divmod(at, width)
    along = levels[at + (x < width - 1)] - levels[at - (x > 0)]
    down = levels[at + width * (y < height - 1)] - levels[at - width * (y > 0)]
    gradient = np.hypot(along.astype(np.float32), down.astype(np.float32)) * (STEP_OD / 2)
    n = len(pixels.stretches)
    return np.bincount(owners, weights=gradient, minlength=n) / np.bincount(owners, minlength=n)


def _dark_clumps(pixels: NuclearPixels, width: int, limits: Float64Array, min_px: float) -> Float64Array:
    """Return (N,) the number of connected areas inside the outline that are denser than a limit.

    Args:
        pixels: of N nuclei.
        width: of the tile, px.
        limits: (N,) densities.
        min_px: smallest area, px.
    """
    limit = np.rint((limits - LOWEST_OD) / STEP_OD).astype(np.int16)
    # Outermost pixels part the clumps of nuclei that touch.
    dark = np.flatnonzero((pixels.levels > limit[pixels.owners]) & ~pixels.outermost)
    if not len(dark):
        return np.zeros(len(pixels.stretches))
    dark = dark[np.argsort(pixels.in_tile[dark])]
    places = pixels.in_tile[dark]
    begins = np.flatnonzero(np.diff(places, prepend=-2) != 1)
    runs = RunLengths(places[begins], places[np.append(begins[1:], len(places)) - 1] + 1)
    clumps = connect(runs, width, diagonal=True)
    areas = np.bincount(clumps.of_run, weights=runs.lengths, minlength=clumps.number)
    owner = np.zeros(clumps.number, np.int64)
    owner[clumps.of_run] = pixels.owners[dark[begins]]
    return np.bincount(owner[areas >= min_px], minlength=len(pixels.stretches)).astype(np.float64)


def _ratio(above: np.ndarray, below: np.ndarray) -> Float64Array:
    """Divide, with NaN where there is nothing to divide by."""
    return np.asarray(np.divide(above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=below != 0))
