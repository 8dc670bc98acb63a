"""What can be said about a tile before its cells are believed: focus, stain, tissue."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from app.pipeline.manifest import QualityReference
from app.pipeline.presets import StainParams
from app.pipeline.stain import optical_density
from app.pipeline.types import Float64Array, Stain, UInt8Array


@dataclass(frozen=True, slots=True)
class Flag:
    """Something about the tile that its reader should know."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Quality:
    """Measures of a tile.

    Attributes:
        focus: variance of the Laplacian of the grey tile, in squared grey levels; higher is sharper.
        stain_distance: larger angle, in degrees, between a stain vector and that of the training tiles; None where no
            two stains can be told apart.
        tissue_fraction: share of pixels that are darker than background, 0–1.
        flags: what is wrong.
    """

    focus: float
    stain_distance: float | None
    tissue_fraction: float
    flags: tuple[Flag, ...]


def assess(pixels: UInt8Array, stains: Stain, params: StainParams, reference: QualityReference) -> Quality:
    """Measure a tile.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        stains: its unmixing.
        params: says what counts as background.
        reference: the training tiles.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    focus = float(cv2.Laplacian(grey, cv2.CV_64F).var())
    density = np.sqrt(np.square(optical_density(pixels)).sum(axis=2))
    tissue = float((density > params.min_magnitude).mean())
    if stains.stain_matrix is None:
        flag = Flag("no_stain", "Haematoxylin and eosin cannot be told apart in this tile; no nucleus was sought.")
        return Quality(focus, None, tissue, (flag,))
    return Quality(focus, stain_angle(stains.stain_matrix, np.asarray(reference.stain_matrix).T), tissue, ())


def stain_angle(stain_matrix: Float64Array, reference: Float64Array) -> float:
    """Larger of the angles between matching columns of two (3, 2) stain matrices, in degrees."""
    cosines = (stain_matrix * reference).sum(axis=0) / np.linalg.norm(reference, axis=0)
    return float(np.rad2deg(np.arccos(np.clip(cosines, -1, 1))).max())
