"""How the tiles of a laboratory look, and the transfer that makes tiles of another one look like them.

Normalisation brings mean and spread of a tile's colours to the bundle's. It cannot part stains whose colours differ
from those of the training tiles, or sharpen. A transfer does, and is the same for all tiles of a laboratory, so that
what differs between its tiles stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageFilter

from app.pipeline.presets import AMOUNT_PERCENTILES, Appearance, StainParams, Transfer
from app.pipeline.stain.macenko import haematoxylin_first, macenko
from app.pipeline.stain.optical_density import is_tissue, optical_density
from app.pipeline.types import Float64Array, UInt8Array

TILE_PIXELS = 50_000
"""About how many pixels of a tile's tissue are used."""
TABLE_EDGE = 33
"""Grid points of the colour table along red, green and blue; between them the table is interpolated."""
SHARPENING_RANGE = -1.0, 3.0
SHARPENING_SIGMA = 1.0
"""Sigma in px of the Gaussian by which pictures are sharpened, or softened."""


def sample_tissue(pixels: UInt8Array, params: StainParams) -> UInt8Array:
    """Return pixels of a tile's tissue, evenly spread, (H, W, 3) uint8 → (N, 3) uint8."""
    tissue = pixels[is_tissue(pixels, params.min_magnitude)]
    return np.ascontiguousarray(tissue[:: max(1, len(tissue) // TILE_PIXELS)])


def measure_appearance(samples: Iterable[UInt8Array], focus: Iterable[float], params: StainParams) -> Appearance | None:
    """Return how tiles look.

    Args:
        samples: (N, 3) uint8 RGB pixels of the tissue of each tile, as `sample_tissue` returns them.
        focus: of the tiles that have one.
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
    return Appearance(
        stains=tuple(tuple(row) for row in stains.T.tolist()),
        haematoxylin=tuple(amounts[:, 0].tolist()),
        eosin=tuple(amounts[:, 1].tolist()),
        focus=float(np.median(of_tiles)),
    )


def transferred(pixels: UInt8Array, transfer: Transfer | None) -> UInt8Array:
    """Return a tile as if the laboratory of the training tiles had stained and scanned it.

    Args:
        pixels: (H, W, 3) uint8 RGB, at the bundle's scale.
        transfer: of the laboratory; None leaves the tile as it is.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    return pixels if transfer is None else sharpened(recoloured(pixels, transfer), transfer.sharpening)


def recoloured(pixels: UInt8Array, transfer: Transfer) -> UInt8Array:
    """Return a tile in the colours of the training tiles, (H, W, 3) uint8 RGB → the same."""
    return np.asarray(Image.fromarray(pixels).filter(_table(transfer)), dtype=np.uint8)


def sharpened(picture: UInt8Array, sharpening: float) -> UInt8Array:
    """Add so much of its fine detail to a picture, or take it away, (H, W, 3) uint8 RGB → the same."""
    if sharpening == 0:
        return picture
    soft = cv2.GaussianBlur(picture, (0, 0), SHARPENING_SIGMA)
    return np.asarray(cv2.addWeighted(picture, 1 + sharpening, soft, -sharpening, 0), dtype=np.uint8)


def density_matrix(transfer: Transfer) -> Float64Array:
    """Return the (3, 3) matrix by which an optical density (red, green, blue) is multiplied.

    The amounts of both stains are unmixed, multiplied by a gain each, and shown with the stains of the training tiles.
    What two stains do not explain stays. A gain is the slope through 0 that fits the percentiles of the training tiles
    best to those of the laboratory. A curve through all of them would take for the laboratory what the tissue of its
    tiles differs in: a tile with more nuclei has other percentiles.
    """
    source, target = (np.array(look.stains).T for look in (transfer.source, transfer.target))
    gains = [
        np.dot(mine, theirs) / np.dot(mine, mine)
        for mine, theirs in (
            (np.array(transfer.source.haematoxylin), np.array(transfer.target.haematoxylin)),
            (np.array(transfer.source.eosin), np.array(transfer.target.eosin)),
        )
    ]
    unmix = np.linalg.pinv(source)
    return np.asarray(target @ np.diag(gains) @ unmix + np.eye(3) - source @ unmix)


@lru_cache(maxsize=16)
def _table(transfer: Transfer) -> ImageFilter.Color3DLUT:
    """Return the colours that every colour becomes, on a grid."""
    grid = np.linspace(0, 255, TABLE_EDGE)
    blue, green, red = np.meshgrid(grid, grid, grid, indexing="ij")  # Pillow's tables: red changes fastest
    colours = np.stack([red, green, blue], axis=-1).reshape(-1, 3)
    density = 255 * (1 - np.log(colours + 1) / np.log(256)) @ density_matrix(transfer).T
    values = np.clip((256 ** (1 - density / 255) - 1) / 255, 0, 1)
    return ImageFilter.Color3DLUT(TABLE_EDGE, values.ravel().tolist())
