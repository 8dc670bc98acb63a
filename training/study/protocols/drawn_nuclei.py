"""Drawn tiles: nuclei of every size, whose outlines are known to the pixel.

They are like marrow in what decides where an outline is drawn: two stains, as many nuclei as in marrow, of three
densities, textured chromatin, edges as soft as those of `bm_graz`, uneven cytoplasm, and white fat. Nothing learns from
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage

from app.pipeline.types import BoolArray, Float64Array, Int32Array, UInt8Array

TILE_PX = 1200
DIAMETERS_PX = (8, 12, 16, 20, 24, 32, 40, 50, 60)
CROWDED_PX = (16, 20, 24, 32, 40)
"""Diameters of the nuclei that touch, or lie close to each other."""
COMMON_PX, N_COMMON = (16, 20, 24), 100
"""Diameters of the nuclei that a tile has most of, and how many of each: colours are normalised by the whole tile, so
that it must have as much nucleus as a tile of marrow, a seventh of its tissue."""
LOBED_PX = (24, 32, 40)
LARGE_PX = (80, 120, 160, 240)
"""Diameters of nuclei as large as those of megakaryocytes."""
DENSITY = {"pale": 36.0, "medium": 62.0, "dark": 95.0}
"""Density of haematoxylin of a nucleus, 0–255. Once the tile is normalised, it is about 55, 85 and 125. Of the nuclei
that `default` finds on `bm_graz`, nine in ten have 55 to 154."""
TEXTURE = {"pale": 0.2, "medium": 0.16, "dark": 0.12}
"""Standard deviation of the chromatin, as a share of the density."""
EDGE_SIGMA_PX = (1.0, 2.0)
"""Smallest and largest sigma of the Gaussian that softens the edges of a tile, px: 0.25 to 0.5 µm. It is 1.5 px on
`bm_graz`."""
GAP_PX, FAT_PX, N_FAT = 10, (90, 180), 25
"""Nuclei that stand alone are this far from all others; diameters and number of the drops of fat."""
HAEMATOXYLIN, EOSIN = np.array([0.65, 0.70, 0.29]), np.array([0.09, 0.95, 0.28])
"""Optical density of the two stains in red, green and blue (Ruifrok and Johnston 2001)."""
TRIALS = 2000
Shape = Int32Array
"""(h, w) int32, a small label image: nuclei that are placed together, 1…k."""


@dataclass(frozen=True, slots=True)
class DrawnNucleus:
    """What was drawn.

    Attributes:
        situation: "alone", "crowded" (one of seven alike), "pair" (one of two that touch with a waist) or "lobed"
            (three lobes and their bridges).
        diameter_px: that of a disc of its size; of a lobed nucleus, that of the circle round its lobes.
        darkness: a key of DENSITY.
    """

    situation: str
    diameter_px: int
    darkness: str


@dataclass(frozen=True, slots=True)
class DrawnTile:
    """A drawn tile.

    Attributes:
        pixels: (H, W, 3) uint8 RGB at 0.25 µm per pixel.
        label_image: (H, W) int32, 1…N in reading order of their first pixel: the nuclei before edges were softened.
        nuclei: the N nuclei.
    """

    pixels: UInt8Array
    label_image: Int32Array
    nuclei: tuple[DrawnNucleus, ...]


def draw_tile(seed: int) -> DrawnTile:
    """Draw a tile with nuclei of every size, density and situation; what finds no room is left out.

    Args:
        seed: the same seed draws the same tile.
    """
    random = np.random.default_rng(seed)
    taken = np.ones((TILE_PX, TILE_PX), bool)
    taken[GAP_PX:-GAP_PX, GAP_PX:-GAP_PX] = False
    labels, fat = np.zeros(taken.shape, np.int32), np.zeros(taken.shape, np.int32)
    nuclei: list[DrawnNucleus] = []
    for i, (situation, diameter) in enumerate(_wanted(seed), start=seed):
        if situation == "fat":
            _place(fat, _ellipse(random.uniform(*FAT_PX), random), taken, random)
            continue
        shape = SHAPES[situation](diameter, random)
        if _place(labels, np.where(shape > 0, shape + len(nuclei), 0), taken, random):
            # Those of a crowd are alike, and the second one of a pair is of another density.
            densities = [list(DENSITY)[(i + (situation == "pair" and k)) % len(DENSITY)] for k in range(shape.max())]
            nuclei += [DrawnNucleus(situation, diameter, darkness) for darkness in densities]
    _, first = np.unique(labels, return_index=True)
    order = np.argsort(first[1:])
    numbers = np.zeros(len(nuclei) + 1, np.int32)
    numbers[1 + order] = np.arange(1, len(nuclei) + 1)
    ordered = tuple(nuclei[i] for i in order)
    label_image = np.asarray(numbers[labels])
    return DrawnTile(_stained(label_image, ordered, fat > 0, random), label_image, ordered)


def _wanted(seed: int) -> Iterator[tuple[str, int]]:
    """Yield the situation and the diameter of everything that a tile has, large things first.

    Only one nucleus is very large: several would decide which density the tile's nuclei are judged by.
    """
    yield "alone", LARGE_PX[seed % len(LARGE_PX)]
    yield from (("fat", 0) for _ in range(N_FAT))
    yield from (("crowded", diameter) for diameter in reversed(CROWDED_PX))
    yield from (("pair", diameter) for diameter in reversed(CROWDED_PX))
    yield from (("lobed", diameter) for diameter in reversed(LOBED_PX))
    yield from (("alone", diameter) for diameter in reversed(DIAMETERS_PX) for _ in DENSITY)
    yield from (("alone", diameter) for diameter in COMMON_PX for _ in range(N_COMMON))


def _place(image: Int32Array, shape: Shape, taken: BoolArray, random: np.random.Generator) -> bool:
    """Put a shape where there is room for it and a gap round it; return whether there was.

    Args:
        image: (H, W) int32, receives the labels of the shape.
        shape: what is placed.
        taken: (H, W) bool, where there is no room; what is placed is added.
        random: chooses the place.
    """
    framed = np.pad(shape, GAP_PX)
    room = ndimage.distance_transform_edt(framed == 0) <= GAP_PX
    height, width = room.shape
    for y, x in random.integers(0, (len(taken) - height, len(taken) - width), (TRIALS, 2)).tolist():
        here = np.s_[y : y + height, x : x + width]
        if not (taken[here] & room).any():
            image[here][framed > 0] = framed[framed > 0]
            taken[here] |= framed > 0
            return True
    return False


def _plane(reach: float, random: np.random.Generator) -> tuple[Float64Array, Float64Array]:
    """Return the coordinates of the pixels round a point that lies anywhere within a pixel, turned at random."""
    side = np.arange(-int(reach) - 2, int(reach) + 3)
    y, x = side[:, None] + random.uniform(-0.5, 0.5), side + random.uniform(-0.5, 0.5)
    angle = random.uniform(0, 2 * np.pi)
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _ellipse(diameter: float, random: np.random.Generator) -> Shape:
    """Draw a disc, or an ellipse of the same area."""
    ratio = random.choice([1.0, 1.25, 1.5])
    x, y = _plane(diameter, random)
    return ((x**2 / ratio + y**2 * ratio) <= (diameter / 2) ** 2).astype(np.int32)


def _crowd(diameter: float, random: np.random.Generator) -> Shape:
    """Draw seven discs with gaps of a tenth of their diameter."""
    x, y = _plane(2 * diameter, random)
    angles = np.arange(6) * np.pi / 3
    centres = 1.1 * diameter * np.concatenate([[[0, 0]], np.stack([np.cos(angles), np.sin(angles)], axis=1)])
    return _discs(x, y, centres, diameter / 2)


def _pair(diameter: float, random: np.random.Generator) -> Shape:
    """Draw two discs that overlap; their waist is 0.6 of their diameter wide, and parts them."""
    x, y = _plane(2 * diameter, random)
    return _discs(x, y, diameter * np.array([[-0.4, 0], [0.4, 0]]), diameter / 2)


def _discs(x: Float64Array, y: Float64Array, centres: Float64Array, radius: float) -> Shape:
    """Draw a disc round each centre; where discs overlap, a pixel belongs to the nearest centre."""
    distance = np.stack([np.hypot(x - cx, y - cy) for cx, cy in centres])
    return np.where(distance.min(axis=0) <= radius, distance.argmin(axis=0) + 1, 0).astype(np.int32)


def _lobed(diameter: float, random: np.random.Generator) -> Shape:
    """Draw three lobes, joined by two bridges: one nucleus of a granulocyte."""
    x, y = _plane(diameter, random)
    angles = np.pi * np.array([0.15, 1, 1.85])
    centres = 0.28 * diameter * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    nucleus = _discs(x, y, centres, 0.22 * diameter) > 0
    for (ax, ay), (bx, by) in pairwise(centres):
        along = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2), 0, 1)
        nucleus |= np.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay)) <= 0.09 * diameter
    return nucleus.astype(np.int32)


SHAPES = {"alone": _ellipse, "crowded": _crowd, "pair": _pair, "lobed": _lobed}


def _stained(
    label_image: Int32Array, nuclei: tuple[DrawnNucleus, ...], fat: BoolArray, random: np.random.Generator
) -> UInt8Array:
    """Stain nuclei and cytoplasm, soften the edges, and add the noise of a camera."""
    shape = label_image.shape
    density = np.array([0.0, *(DENSITY[nucleus.darkness] for nucleus in nuclei)])[label_image]
    texture = np.array([0.0, *(TEXTURE[nucleus.darkness] for nucleus in nuclei)])[label_image]
    chromatin = density * (1 + texture * _field(shape, 1.5, random))
    cytoplasm = np.where(fat, 0, 1)
    haematoxylin = chromatin + cytoplasm * 9 * np.exp(0.6 * _field(shape, 6, random))
    eosin = cytoplasm * np.clip(40 + 8 * _field(shape, 12, random), 0, None)
    sigma = random.uniform(*EDGE_SIGMA_PX)
    stains = (ndimage.gaussian_filter(amount, sigma) for amount in (haematoxylin, eosin))
    optical = sum(
        np.multiply.outer(amount, vector / np.linalg.norm(vector))
        for amount, vector in zip(stains, (HAEMATOXYLIN, EOSIN), strict=True)
    )
    pixels = 256 ** (1 - optical / 255) - 1 + random.normal(0, 2, (*shape, 3))
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def _field(shape: tuple[int, ...], sigma: float, random: np.random.Generator) -> Float64Array:
    """Return smooth noise with a mean of 0 and a standard deviation of 1, (H, W) float64."""
    noise = ndimage.gaussian_filter(random.normal(size=shape), sigma)
    return np.asarray(noise / noise.std())
