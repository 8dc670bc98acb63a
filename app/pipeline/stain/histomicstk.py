"""The steps of a stain engine by HistomicsTK 1.4.0: the reference that our own engine is compared with."""

from __future__ import annotations

import numpy as np
from histomicstk.preprocessing.color_conversion import rgb_to_sda
from histomicstk.preprocessing.color_deconvolution import color_deconvolution, separate_stains_macenko_pca
from histomicstk.preprocessing.color_normalization import reinhard as htk_reinhard

from app.pipeline.stain import macenko as native
from app.pipeline.stain import normalise
from app.pipeline.types import Float64Array, LabStatistics, UInt8Array


def reinhard(pixels: UInt8Array, source: LabStatistics, target: LabStatistics) -> UInt8Array:
    """See `normalise.reinhard`."""
    if (source.sd < normalise.MIN_LAB_SD).any():
        # HistomicsTK would divide by zero.
        return normalise.reinhard(pixels, source, target)
    normalised = htk_reinhard(pixels, target.mean, target.sd, src_mu=source.mean, src_sigma=source.sd)
    return np.asarray(normalised, dtype=np.uint8)


def macenko(pixels: UInt8Array, *, min_magnitude: float, angle_percentiles: tuple[float, float]) -> Float64Array | None:
    """See `macenko.macenko`. HistomicsTK leaves the order of the vectors open; haematoxylin is put first here."""
    # HistomicsTK raises or returns NaN where there is no plane of two stains; the native check finds that case.
    if native.macenko(pixels, min_magnitude=min_magnitude, angle_percentiles=angle_percentiles) is None:
        return None
    low, high = angle_percentiles
    matrix = separate_stains_macenko_pca(
        rgb_to_sda(pixels[None], None),
        minimum_magnitude=min_magnitude,
        min_angle_percentile=low / 100,
        max_angle_percentile=high / 100,
    )
    return native.haematoxylin_first(np.asarray(matrix, dtype=np.float64)[:, :2])


def haematoxylin_image(pixels: UInt8Array, stain_matrix: Float64Array) -> UInt8Array:
    """See `macenko.haematoxylin_image`."""
    return np.asarray(color_deconvolution(pixels, stain_matrix).Stains[..., 0], dtype=np.uint8)
