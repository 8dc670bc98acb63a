"""Tiles recoloured as if other laboratories had stained and scanned them; these laboratories are simulated."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from app.pipeline.quality.reference import jpeg
from app.pipeline.stain.macenko import haematoxylin_first, macenko
from app.pipeline.stain.optical_density import is_tissue, optical_density
from app.pipeline.types import UInt8Array

MIN_MAGNITUDE = 16
WHITE = 256.0
"""A pixel without stain has this intensity, on the scale on which `optical_density` is 0 for 255."""

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Laboratory:
    """How a simulated laboratory stains and scans.

    Attributes:
        stains: optical densities of haematoxylin and eosin in red, green and blue; their lengths do not matter.
        strengths: the amount of each stain, as a multiple of that in the tile.
        gamma: an intensity of 0 to 1 is raised to this power.
        sharpness_px: above 0, the sigma of a Gaussian that blurs; below 0, that of an unsharp mask of amount 1.
        jpeg_quality: of the file, 0 to 100; None if it is not compressed.
    """

    stains: tuple[Triple, Triple]
    strengths: tuple[float, float] = (1.0, 1.0)
    gamma: float = 1.0
    sharpness_px: float = 0.0
    jpeg_quality: int | None = None

    def recolour(self, pixels: UInt8Array) -> UInt8Array:
        """Return a tile as this laboratory would show it, (H, W, 3) uint8 RGB → the same.

        The two stains of the tile are found by Macenko's method. What they do not explain is kept, as strong as both
        stains are on average.

        Raises:
            ValueError: the tile has no two stains.
        """
        found = macenko(
            pixels[is_tissue(pixels, MIN_MAGNITUDE)], min_magnitude=MIN_MAGNITUDE, angle_percentiles=(1, 99)
        )
        if found is None:
            raise ValueError("A tile is recoloured by its two stains, and this one has none.")
        own = haematoxylin_first(found)
        density = optical_density(pixels)
        amounts = density @ np.linalg.pinv(own).T
        rest = density - amounts @ own.T
        vectors = np.asarray(self.stains, np.float64)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        new = amounts * self.strengths @ vectors + rest * float(np.mean(self.strengths))
        intensity = WHITE ** (-new / 255) * WHITE - 1
        picture = _rounded(255 * np.clip(intensity / 255, 0, 1) ** self.gamma)
        if self.sharpness_px:
            blurred = cv2.GaussianBlur(picture, (0, 0), abs(self.sharpness_px))
            picture = np.asarray(blurred, np.uint8) if self.sharpness_px > 0 else _rounded(2.0 * picture - blurred)
        return picture if self.jpeg_quality is None else jpeg(picture, self.jpeg_quality)


def _rounded(values: np.ndarray) -> UInt8Array:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


LABORATORIES = {
    "stains of crchisto, pale": Laboratory(
        ((0.552, 0.775, 0.309), (0.137, 0.903, 0.407)), (0.6, 0.75), jpeg_quality=85
    ),
    "stains of consep, blurred": Laboratory(
        ((0.546, 0.769, 0.333), (0.229, 0.927, 0.298)), (0.8, 0.9), sharpness_px=0.7, jpeg_quality=80
    ),
    "stains of monuseg, sharpened": Laboratory(
        ((0.565, 0.727, 0.390), (0.113, 0.820, 0.561)), (1.0, 1.4), sharpness_px=-0.8, jpeg_quality=90
    ),
    "stains of fl_reactive, gamma 1.2": Laboratory(
        ((0.602, 0.741, 0.297), (0.052, 0.954, 0.297)), (0.9, 1.1), gamma=1.2
    ),
    "stains of mds_cores, strong eosin": Laboratory(
        ((0.662, 0.607, 0.440), (0.300, 0.922, 0.245)), (0.9, 1.4), jpeg_quality=75
    ),
    "own stains, gamma 0.8": Laboratory(((0.620, 0.689, 0.374), (0.099, 0.907, 0.408)), gamma=0.8, jpeg_quality=80),
}
"""Stain vectors are medians of Macenko's estimates over tiles of the sets; all other numbers are chosen."""
