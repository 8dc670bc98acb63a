"""How the tiles of a laboratory look, and the transfer that makes tiles of another one look like them.

Normalisation brings mean and spread of a tile's colours to the bundle's. It cannot part stains whose colours differ
from those of the training tiles, bend a scanner's tone curve, or sharpen. A transfer does so after it, and is the same
for all tiles of a laboratory, so that what differs between its tiles stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageFilter

from app.pipeline.presets import AMOUNT_PERCENTILES, Amounts, Appearance, StainParams, Transfer
from app.pipeline.stain.macenko import haematoxylin_first, macenko
from app.pipeline.stain.optical_density import optical_density
from app.pipeline.types import BoolArray, Float64Array, UInt8Array

N_ENDS = 3
"""Beyond the last percentile a curve goes on as steeply as between the last and the one so many before it."""
TILE_PIXELS = 50_000
"""About how many pixels of a tile's tissue are used."""
TABLE_EDGE = 33
"""Grid points of the colour table along red, green and blue; between them the table is interpolated."""
SHARPENING_RANGE = -1.0, 3.0
SHARPENING_SIGMA = 1.0
"""Sigma in px of the Gaussian by which pictures are sharpened, or softened."""


def sample_tissue(normalised: UInt8Array, tissue: BoolArray) -> UInt8Array:
    """Return pixels of a tile's tissue, evenly spread, (H, W, 3) uint8 and (H, W) bool → (N, 3) uint8."""
    pixels = normalised[tissue]
    return np.ascontiguousarray(pixels[:: max(1, len(pixels) // TILE_PIXELS)])


def measure_appearance(samples: Iterable[UInt8Array], focus: Iterable[float], params: StainParams) -> Appearance | None:
    """Return how tiles look.

    Args:
        samples: (N, 3) uint8 RGB pixels of the tissue of each tile, as `sample_tissue` returns them.
        focus: of the normalised tiles that have one.
        params: of the stain estimate.

    Returns:
        None where two stains cannot be distinguished in all tiles together, or no tile has a focus.
    """
    pixels, of_tiles = np.concatenate(list(samples)), list(focus)
    found = macenko(pixels, min_magnitude=params.min_magnitude, angle_percentiles=params.angle_percentiles)
    if found is None or not of_tiles:
        return None
    stains = haematoxylin_first(found)
    amounts = np.percentile(optical_density(pixels) @ np.linalg.pinv(stains).T, AMOUNT_PERCENTILES, axis=0)
    # Two percentiles of a clipped picture may be equal, and a curve through them would have no slope.
    amounts += 1e-3 * np.arange(len(AMOUNT_PERCENTILES))[:, None]
    return Appearance(
        stains=tuple(tuple(row) for row in stains.T.tolist()),
        haematoxylin=tuple(amounts[:, 0].tolist()),
        eosin=tuple(amounts[:, 1].tolist()),
        focus=float(np.median(of_tiles)),
    )


def transferred(normalised: UInt8Array, transfer: Transfer | None) -> UInt8Array:
    """Return a tile as if the laboratory of the training tiles had stained and scanned it; see `recoloured`.

    Args:
        normalised: (H, W, 3) uint8 RGB, at the bundle's scale.
        transfer: of the laboratory; None leaves the tile as it is.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    return normalised if transfer is None else sharpened(recoloured(normalised, transfer), transfer.sharpening)


def sharpened(picture: UInt8Array, sharpening: float) -> UInt8Array:
    """Add so much of its fine detail to a picture, or take it away, (H, W, 3) uint8 RGB → the same."""
    if sharpening == 0:
        return picture
    soft = cv2.GaussianBlur(picture, (0, 0), SHARPENING_SIGMA)
    return np.asarray(cv2.addWeighted(picture, 1 + sharpening, soft, -sharpening, 0), dtype=np.uint8)


def recoloured(normalised: UInt8Array, transfer: Transfer | None) -> UInt8Array:
    """Return pixels in the colours of the training tiles, (H, W, 3) uint8 RGB → the same.

    The amounts of both stains are unmixed; each is bent so that its percentiles over the laboratory's tiles become
    those over the training tiles; the stains of the training tiles then show them. What two stains do not explain
    stays.
    """
    if transfer is None:
        return normalised
    return np.asarray(Image.fromarray(normalised).filter(_table(transfer)), dtype=np.uint8)


@lru_cache(maxsize=16)
def _table(transfer: Transfer) -> ImageFilter.Color3DLUT:
    """Return the colours that every colour becomes, on a grid."""
    grid = np.linspace(0, 255, TABLE_EDGE)
    blue, green, red = np.meshgrid(grid, grid, grid, indexing="ij")  # Pillow's tables: red changes fastest
    colours = np.stack([red, green, blue], axis=-1).reshape(-1, 3)
    density = 255 * (1 - np.log(colours + 1) / np.log(256))
    source, target = transfer.source, transfer.target
    amounts = density @ np.linalg.pinv(_matrix(source)).T
    rest = density - amounts @ _matrix(source).T
    bent = [
        bend(amounts[:, 0], source.haematoxylin, target.haematoxylin),
        bend(amounts[:, 1], source.eosin, target.eosin),
    ]
    shown = np.stack(bent, axis=1) @ _matrix(target).T + rest
    values = np.clip((256 ** (1 - shown / 255) - 1) / 255, 0, 1)
    return ImageFilter.Color3DLUT(TABLE_EDGE, values.ravel().tolist())


def bend(amounts: Float64Array, source: Amounts, target: Amounts) -> Float64Array:
    """Move amounts of a stain so that the percentiles `source` become those of `target`, (N,) float64 → (N,).

    Between two percentiles the curve is straight, and beyond the last ones it goes on as steeply as near them.
    """
    x, y = np.asarray(source), np.asarray(target)
    low, high = ((y[i] - y[j]) / (x[i] - x[j]) for i, j in ((0, N_ENDS), (-1, -1 - N_ENDS)))
    inside = np.interp(amounts, x, y)
    return np.asarray(inside + np.minimum(amounts - x[0], 0) * low + np.maximum(amounts - x[-1], 0) * high)


def _matrix(appearance: Appearance) -> Float64Array:
    """Return the (3, 2) stain vectors, haematoxylin then eosin."""
    return np.array(appearance.stains).T
