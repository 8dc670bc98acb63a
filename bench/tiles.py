"""Tiles to measure: public ones, larger ones mirrored from them, and ones with drawn nuclei."""

from __future__ import annotations

import io
import math
import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench import BUNDLE, ROOT

UInt8Array = NDArray[np.uint8]

SAMPLE = BUNDLE / "sample.png"
# Optical densities in R, G and B (Ruifrok & Johnston 2001, table 1).
HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
EOSIN = np.array([0.07, 0.99, 0.11])
DRAWN_PX = 1200
DRAWN_RADIUS_PX = 10


def default_tiles() -> list[Path]:
    """Return the tiles of `bm_graz` where the public data are present, and else the bundle's generated sample.

    The public data are looked for in MARROWSCOPE_DATA, or else in ../shared/data beside the repository.
    """
    data = Path(os.environ.get("MARROWSCOPE_DATA", ROOT.parent / "shared" / "data"))
    return sorted((data / "bm_graz" / "tiles").glob("*.png")) or [SAMPLE]


def read_pixels(path: Path) -> UInt8Array:
    """Read an image file as (H, W, 3) uint8 RGB."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8)


def to_png(pixels: UInt8Array) -> bytes:
    """Encode (H, W, 3) uint8 pixels as a PNG with Pillow's default compression."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def mirrored(pixels: UInt8Array, side: int) -> UInt8Array:
    """Cut the top-left square of `side` pixels from a tile, which is mirrored at its edges if it is too small.

    Args:
        pixels: (H, W, 3) uint8.
        side: width and height of the result, px.
    """
    missing = [(0, max(0, side - length)) for length in pixels.shape[:2]]
    return np.pad(pixels, [*missing, (0, 0)], mode="symmetric")[:side, :side]


def drawn(n_nuclei: int, seed: int = 0) -> UInt8Array:
    """Draw a 1200 × 1200 H&E tile with round nuclei of radius 10 px, none of which touches another.

    Each nucleus has a square of a regular lattice to itself and a random position within it; intensities follow the law
    of Beer and Lambert, with noise in both stains.

    Args:
        n_nuclei: 0 to 2,025.
        seed: seed of positions and noise.

    Raises:
        ValueError: so many nuclei do not fit.
    """
    rng = np.random.default_rng(seed)
    size = (DRAWN_PX, DRAWN_PX)
    lattice = max(1, math.ceil(math.sqrt(n_nuclei)))
    pitch = DRAWN_PX / lattice
    room = pitch / 2 - DRAWN_RADIUS_PX - 2
    if n_nuclei and room < 1:
        raise ValueError(f"{n_nuclei} nuclei of radius {DRAWN_RADIUS_PX} px do not fit into {DRAWN_PX} px squared.")
    places = rng.permutation(lattice**2)[:n_nuclei]
    centres = (np.stack([places % lattice, places // lattice], axis=1) + 0.5) * pitch
    covered = np.zeros(size, np.float32)
    for x, y in np.rint(centres + rng.uniform(-room, room, centres.shape)).astype(int):
        cv2.circle(covered, (int(x), int(y)), DRAWN_RADIUS_PX, 1.0, cv2.FILLED)
    nuclei = cv2.GaussianBlur(covered, (0, 0), 0.7) * rng.normal(0.8, 0.05, size)
    unevenness = cv2.GaussianBlur(rng.normal(size=size), (0, 0), 6)
    eosin = 0.25 + 0.08 * unevenness / unevenness.std() + rng.normal(0, 0.02, size)
    density = np.multiply.outer(nuclei, HAEMATOXYLIN) + np.multiply.outer(np.clip(eosin, 0, None), EOSIN)
    return np.rint(np.clip(255 * 10**-density, 0, 255)).astype(np.uint8)
