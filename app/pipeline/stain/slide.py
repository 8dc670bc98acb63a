"""The stain of a slide, measured once on pieces of it and then used for all its tiles (paper §III-B1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.pipeline.presets import Engine, StainParams
from app.pipeline.stain.normalise import lab_statistics
from app.pipeline.stain.optical_density import NUCLEAR_DENSITY_SIGMA, density_image, otsu_threshold
from app.pipeline.stain.transfer import transferred
from app.pipeline.stain.unmix import (
    haematoxylin_of,
    masked_pixels,
    smoothed,
    stain_engine,
    stain_matrix,
    target_of,
    used_pixels,
)
from app.pipeline.types import BoolArray, Float32Array, StainEstimate, UInt8Array

APRON_PX = 16
"""Width of what a piece should have round its inner pixels, px: filters reach farther than the nearest neighbour."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a slide at the analysed scale.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, the inner pixels and the apron round them.
        inner: rows and columns of the inner pixels, which are measured.
    """

    pixels: UInt8Array
    inner: tuple[slice, slice]

    @property
    def counted(self) -> UInt8Array:
        """(h, w, 3) uint8, the inner pixels."""
        return self.pixels[self.inner]


def estimate_stain(pieces: Sequence[Piece], params: StainParams, engine: Engine = "native") -> StainEstimate | None:
    """Measure on all pieces together what `unmix` measures on a tile; for a single piece both give the same.

    Args:
        pieces: parts of the slide.
        params: target statistics and Macenko's limits.
        engine: see `unmix`.

    Returns:
        None where no two stains can be distinguished.

    Raises:
        EngineUnavailable: the engine is not installed.
    """
    steps = stain_engine(engine)
    pieces = [replace(piece, pixels=transferred(piece.pixels, params.transfer)) for piece in pieces]
    tissues = [used_pixels(piece.pixels, params) for piece in pieces]
    counted = np.concatenate([_counted(piece, tissue, params) for piece, tissue in zip(pieces, tissues, strict=True)])
    lab = lab_statistics(counted)
    matrix = None if lab is None else stain_matrix(counted, lab, params, steps)
    if lab is None or matrix is None:
        return None

    def density(piece: Piece, tissue: BoolArray) -> Float32Array:
        normalised = steps.reinhard(piece.pixels, lab, target_of(params))
        image = haematoxylin_of(normalised, tissue, matrix, params, steps)
        return density_image(image, NUCLEAR_DENSITY_SIGMA)[piece.inner][tissue[piece.inner]]

    densities = [density(piece, tissue) for piece, tissue in zip(pieces, tissues, strict=True)]
    return StainEstimate(lab, matrix, otsu_threshold(np.concatenate(densities)))


def _counted(piece: Piece, tissue: BoolArray, params: StainParams) -> UInt8Array:
    smooth = smoothed(piece.pixels, params.smoothing_px)
    return masked_pixels(np.ascontiguousarray(smooth[piece.inner]), tissue[piece.inner])
