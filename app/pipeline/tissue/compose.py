"""Pixels, stains and nuclei of a tile → `Tissue`: which kind of tissue each place of the tile is.

The tile is reduced to a picture with a pixel of 1 µm. Optical density is measured from the tile's own white, so that
it does not change with the brightness of the lamp. Cells are told from their surroundings by ratios of densities, which
are hues and do not change with the strength of the stain.
"""

from __future__ import annotations

from typing import TypeVar, cast

import cv2
import numpy as np

from app.pipeline.stain.optical_density import OD_TABLE, is_seen
from app.pipeline.tissue.classes import BACKGROUND, BONE_AND_STROMA, CLASSES, FAT, HAEMATOPOIETIC, RED_CELLS, Tissue
from app.pipeline.tissue.holes import find_fat
from app.pipeline.types import BoolArray, Float32Array, Nuclei, Stain, UInt8Array

Planes = list[Float32Array]
"""Optical density of red, green and blue beyond that of the tile's white, each (H, W) float32, 0–255."""

Picture = TypeVar("Picture", UInt8Array, Float32Array)

MAP_MPP = 1.0
"""µm per pixel of the class map. The septa between vacuoles need it."""
COARSE = 2
"""µm per pixel at which everything but holes is told apart."""

WHITE_SHARE, MIN_WHITE = 0.01, 205
"""White is the value of a channel that this share of the pixels exceeds, and no darker than this: a tile may hold
neither fat nor glass."""
MAX_PALE_DENSITY = 13.0
"""Density of green below which a place is as bright as glass. Fat with the remains of its content has up to 12; pale
red cells and plasma have 20 and more."""
MIN_SEPTUM_DENSITY, SEPTUM_UM = 7.0, 5
"""Density by which a line across a bright place exceeds what is beside it if it is a septum, and no wrinkle; and the
width of the widest such line, µm."""
MAX_SPECK = 120
"""Area of the largest speck in a bright place that is taken for dirt, µm²."""
RIM_UM = 3
"""Width of the bright rim between a hole and its wall that belongs to the hole, µm."""

MIN_NUCLEAR_HUE, MIN_NUCLEAR_DENSITY = 0.5, 15.0
"""Density of red over that of green, and density of red, from which a place holds haematoxylin. Chromatin has a ratio
of 0.55 to 0.85, and eosin one of 0.2 to 0.4."""
CELLS_UM, MIN_CELLS = 21, 0.12
"""Width of the surroundings in which nuclei are sought, µm; and their least share of it in haematopoietic tissue. A
nucleus that lies alone, as in bone and stroma, has less."""
HOLES_WEIGHT = 0.25
"""How much holes count in that share: the nuclei in a strand between two vacuoles stand as close as others."""
CYTOPLASM_UM = 6
"""Width of the rim round a nucleus that belongs to its cell, µm."""
MIN_PATCH = 400
"""Area of the smallest patch of tissue that is told apart from what surrounds it, µm²."""

HUE_UM, MAX_EOSIN_HUE, MIN_ORANGE_HUE = 9, 0.45, 0.62
"""Width over which a hue is averaged, µm; density of red over that of green up to which tissue is pink and not blue;
and density of blue over that of green from which it is orange, as haemoglobin makes it. Bone has 0.5."""
GRAIN_UM, TEXTURE_UM, MIN_TEXTURE = 5, 21, 0.24
"""Width of a grain and width over which grains are averaged, µm; and the mean difference between a place and the
grain round it, as a share of the density, from which pink tissue is a crowd of red cells. Bone has 0.05 to 0.2,
fibrous tissue 0.1 to 0.23, red cells that have lost their haemoglobin 0.21 to 0.4."""


def compose(pixels: UInt8Array, stains: Stain, nuclei: Nuclei, mpp: float) -> Tissue:
    """Sort every place of a tile into one kind of tissue.

    Args:
        pixels: (H, W, 3) uint8 RGB, as they were scanned.
        stains: the same tile, unmixed; says whether two stains were found.
        nuclei: its nuclei.
        mpp: µm per pixel of the tile, 0.25 to 2.
    """
    height, width = pixels.shape[:2]
    size = (max(1, round(width * mpp / MAP_MPP)), max(1, round(height * mpp / MAP_MPP)))
    reduced = _reduced(pixels, size)
    nuclear = cv2.resize(nuclei.label_image, size, interpolation=cv2.INTER_NEAREST_EXACT) > 0
    white = _white(reduced)
    red, green = _density(reduced, white)[:2]
    fat, hole = _holes(green, nuclear)
    tissue = ~hole & is_seen(reduced)
    classes = np.full(tissue.shape, BONE_AND_STROMA, np.uint8)
    coarse = _density(_shrunk(reduced), white)
    classes[_are_red_cells(coarse, green, tissue)] = RED_CELLS
    classes[_are_haematopoietic(red, green, nuclear & tissue, tissue)] = HAEMATOPOIETIC
    classes[~tissue] = BACKGROUND
    classes[fat] = FAT
    counts = np.bincount(classes.ravel(), minlength=len(CLASSES))
    return Tissue(counts, height * width * mpp**2 / 1e6, stains.stain_matrix is not None, classes)


def _reduced(pixels: UInt8Array, size: tuple[int, int]) -> UInt8Array:
    """Resize (H, W, 3) pixels to this width and height, by averaging where they shrink."""
    height, width = pixels.shape[:2]
    if height >= COARSE * size[1] and width >= COARSE * size[0] and height % COARSE == width % COARSE == 0:
        # Two steps by a factor of 2 take a quarter of the time of one by 4.
        return _reduced(_shrunk(pixels), size)
    shrinks = size[0] <= width and size[1] <= height
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, size, interpolation=method), np.uint8)


def _white(pixels: UInt8Array) -> list[int]:
    """Return the white of each channel, 0–255."""
    found = []
    for channel in range(3):
        counts = cv2.calcHist([pixels], [channel], None, [256], [0, 256]).ravel()
        as_bright = np.cumsum(counts[::-1])[::-1]
        found.append(max(int(np.flatnonzero(as_bright > WHITE_SHARE * as_bright[0])[-1]), MIN_WHITE))
    return found


def _density(pixels: UInt8Array, white: list[int]) -> Planes:
    tables = [np.maximum(OD_TABLE - OD_TABLE[level], 0).astype(np.float32)[None] for level in white]
    channels = cv2.split(pixels)
    return [np.asarray(cv2.LUT(*pair), np.float32) for pair in zip(channels, tables, strict=True)]


def _holes(green: Float32Array, nuclear: BoolArray) -> tuple[BoolArray, BoolArray]:
    """Return which pixels are fat, and which lie in holes of any kind: two (H, W) bool."""
    bright = (green < MAX_PALE_DENSITY) & ~nuclear
    line = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (SEPTUM_UM, SEPTUM_UM))
    septum = green - cv2.morphologyEx(green, cv2.MORPH_OPEN, line) >= MIN_SEPTUM_DENSITY
    pale = _turned(bright & ~septum, ~bright | septum, MAX_SPECK)
    fat, hole = find_fat(pale.view(np.uint8))
    # Corners that no circle reaches, and septa, belong to the hole that they adjoin.
    return _grown(fat, bright), _grown(hole, bright)


def _grown(mask: BoolArray, within: BoolArray) -> BoolArray:
    """Return a mask with the pixels of another one that are RIM_UM steps or fewer away from it."""
    grown, allowed = mask.view(np.uint8), (mask | within).view(np.uint8)
    for _ in range(RIM_UM):
        grown = np.asarray(cv2.bitwise_and(cv2.dilate(grown, np.ones((3, 3), np.uint8)), allowed), np.uint8)
    return grown > 0


def _are_haematopoietic(red: Float32Array, green: Float32Array, nuclear: BoolArray, tissue: BoolArray) -> BoolArray:
    """Return which pixels belong to nuclei that stand close to each other, or to the cytoplasm round them."""
    blue = (red > MIN_NUCLEAR_HUE * green) & (red > MIN_NUCLEAR_DENSITY) & tissue
    # Edges of tissue have a fringe of colour, which is narrower than a nucleus.
    blue = cv2.morphologyEx(blue.view(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    stained, inside = _coarse(nuclear | blue), _coarse(tissue)
    share = _surroundings(stained) / ((1 - HOLES_WEIGHT) * _surroundings(inside) + HOLES_WEIGHT)
    reach = 2 * (CYTOPLASM_UM // COARSE) + 1
    cell = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    cells = cv2.dilate(((stained >= 0.5) & (share > MIN_CELLS)).view(np.uint8), cell) > 0
    return _fine(_without_patches(cells, inside >= 0.5), tissue.shape)


def _are_red_cells(coarse: Planes, green: Float32Array, tissue: BoolArray) -> BoolArray:
    """Return which pixels are of pink tissue that is orange or grainy.

    Args:
        coarse: the density of the coarse picture.
        green: density of green.
        tissue: (H, W) bool.
    """
    inside = tissue.astype(np.float32)
    green = green * inside
    grain = (GRAIN_UM, GRAIN_UM)
    differences = np.abs(green - cv2.blur(green, grain) / np.maximum(cv2.blur(inside, grain), 1e-3)) * inside
    inside = _coarse(inside)
    # A septum is no crowd: most of what surrounds it is hole.
    is_grainy = _blurred(inside, TEXTURE_UM) >= 0.5
    is_grainy &= _blurred(_coarse(differences), TEXTURE_UM) > MIN_TEXTURE * _blurred(_coarse(green), TEXTURE_UM)
    solid = inside >= 0.5
    reds, greens, blues = (_blurred(plane * solid, HUE_UM) for plane in coarse)
    found = (reds < MAX_EOSIN_HUE * greens) & ((blues > MIN_ORANGE_HUE * greens) | is_grainy)
    return _fine(_without_patches(found & solid, solid), tissue.shape)


def _coarse(plane: BoolArray | Float32Array) -> Float32Array:
    """Reduce (H, W) to COARSE µm per pixel, by averaging: (h, w) float32."""
    return np.asarray(_shrunk(plane.astype(np.float32)), np.float32)


def _shrunk(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    size = (max(1, width // COARSE), max(1, height // COARSE))
    return cast(Picture, cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def _fine(mask: BoolArray, shape: tuple[int, ...]) -> BoolArray:
    """Enlarge a coarse mask to this shape."""
    return np.asarray(cv2.resize(mask.view(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST) > 0)


def _blurred(plane: Float32Array, um: int) -> Float32Array:
    """Return the mean over squares of this width of a coarse picture; beyond the border it is mirrored."""
    width = 2 * (um // COARSE // 2) + 1
    return np.asarray(cv2.blur(plane, (width, width), borderType=cv2.BORDER_REFLECT), np.float32)


def _surroundings(plane: Float32Array) -> Float32Array:
    """Return the mean of the surroundings in a coarse picture; what is near weighs more."""
    return _blurred(_blurred(plane, CELLS_UM), CELLS_UM // 2)


def _without_patches(mask: BoolArray, tissue: BoolArray) -> BoolArray:
    """Fill the small patches of tissue that a coarse mask leaves out, and then leave out its own small patches."""
    filled = _turned(mask, tissue & ~mask, MIN_PATCH // COARSE**2)
    return _turned(filled, filled & tissue, MIN_PATCH // COARSE**2)


def _turned(mask: BoolArray, patches: BoolArray, max_area: int) -> BoolArray:
    """Turn a mask over in the connected patches of another mask that have no more than this area, in pixels."""
    n, labels = cv2.connectedComponents(patches.view(np.uint8), connectivity=8)
    is_small = np.bincount(labels.ravel(), minlength=n) <= max_area
    is_small[0] = False
    return np.asarray(mask ^ np.take(is_small, np.asarray(labels, np.int32)))
