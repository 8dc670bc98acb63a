"""The stain of a slide, measured once on pieces of it and then used for all its tiles (paper §III-B1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.pipeline.nuclei.segment import on_white, stain_engine, stain_matrix
from app.pipeline.presets import Engine, StainParams
from app.pipeline.stain import native as stain
from app.pipeline.stain.optical_density import NUCLEAR_DENSITY_SIGMA, density_image, is_seen, is_tissue, parting
from app.pipeline.types import BoolArray, Float32Array, LabStatistics, StainEstimate, UInt8Array

APRON_PX = 16
"""What a piece should have round the pixels that count: filters see farther than the nearest one."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a slide at the analysed scale.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, with what lies round those that count.
        inner: rows and columns of those that count.
    """

    pixels: UInt8Array
    inner: tuple[slice, slice]

    @property
    def counted(self) -> UInt8Array:
        """(h, w, 3) uint8, the pixels that count."""
        return self.pixels[self.inner]


def estimate_stain(pieces: Sequence[Piece], params: StainParams, engine: Engine = "native") -> StainEstimate | None:
    """What `unmix` measures on a tile, of all pieces together; of a single one it is the same.

    Args:
        pieces: of the slide.
        params: target statistics and Macenko's limits.
        engine: as `unmix` has it.

    Returns:
        None where no two stains can be told apart.

    Raises:
        EngineUnavailable: the engine is not installed.
    """
    source = stain_engine(engine)
    tissues = [_tissue(piece.pixels, params) for piece in pieces]
    counted = np.concatenate([_counted(piece, tissue, params) for piece, tissue in zip(pieces, tissues, strict=True)])
    lab = stain.lab_statistics(counted)
    if lab is None:
        return None
    target = LabStatistics(np.asarray(params.target_mean), np.asarray(params.target_sd))
    matrix = stain_matrix(counted, source.reinhard(counted[:, None], lab, target)[:, 0], params, source)
    if matrix is None:
        return None

    def density(piece: Piece, tissue: BoolArray) -> Float32Array:
        normalised = source.reinhard(piece.pixels, lab, target)
        stained = on_white(normalised, tissue) if params.tissue_only else normalised
        image = source.haematoxylin_image(stain.with_smooth_chroma(stained, params.chroma_smoothing_px), matrix)
        if params.tissue_only:
            image = on_white(image, tissue)
        return density_image(image, NUCLEAR_DENSITY_SIGMA)[piece.inner][tissue[piece.inner]]

    densities = [density(piece, tissue) for piece, tissue in zip(pieces, tissues, strict=True)]
    return StainEstimate(lab, matrix, parting(np.concatenate(densities)))


def _tissue(pixels: UInt8Array, params: StainParams) -> BoolArray:
    return is_tissue(pixels, params.min_magnitude) if params.tissue_only else is_seen(pixels)


def _counted(piece: Piece, tissue: BoolArray, params: StainParams) -> UInt8Array:
    smooth = stain.smoothed(piece.pixels, params.smoothing_px)
    return stain.counted_pixels(np.ascontiguousarray(smooth[piece.inner]), tissue[piece.inner])
