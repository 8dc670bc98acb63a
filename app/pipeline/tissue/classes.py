"""The kinds of tissue, what share of a tile each has, and the class map as a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.pipeline.types import Float64Array, Int64Array, UInt8Array

CLASSES = ("haematopoietic", "fat", "bone_and_stroma", "red_cells", "background")
"""The kinds of tissue. A class map holds places in this list."""
HAEMATOPOIETIC, FAT, BONE_AND_STROMA, RED_CELLS, BACKGROUND = range(len(CLASSES))
COLOURED = ("haematopoietic", "bone_and_stroma", "red_cells")
"""The kinds that are told apart by their colours, and mean nothing where no two stains could be told apart."""

CLASS_COLORS = {
    "haematopoietic": (75, 42, 131),  # dark violet
    "fat": (240, 216, 120),  # pale yellow
    "bone_and_stroma": (229, 155, 187),  # pink
    "red_cells": (179, 38, 30),  # dark red
    "background": (230, 230, 230),  # light grey
}
"""RGB colour of each kind, 0–255, here and in app/web/style.css. They differ in lightness, so that the colour-blind can
tell them apart, and from the colours of clusters, which stand beside them."""

NOT_STAINED = "No two stains could be told apart, so haematopoietic tissue cannot be told from other tissue."
NEITHER = "The tile shows neither haematopoietic tissue nor fat."


@dataclass(frozen=True, slots=True)
class Composition:
    """How much of a tile, a slide or a region each kind of tissue has.

    Attributes:
        amounts: (5,) how much each of CLASSES has, in pixels or as an area.
        area_mm2: area of the whole, provided that its scale is what it was taken to be.
        is_stained: whether two stains could be told apart.
    """

    amounts: Int64Array | Float64Array
    area_mm2: float
    is_stained: bool

    @property
    def shares(self) -> Float64Array:
        """(5,) float64, the share of the whole that each class has, 0–1; they sum to 1."""
        return np.asarray(self.amounts / self.amounts.sum())

    @property
    def cellularity(self) -> float | None:
        """Haematopoietic tissue over haematopoietic tissue and fat, 0–1; None where `reason` says why."""
        return None if self.reason else cellularity_of(self.amounts)

    @property
    def reason(self) -> str | None:
        """Why there is no cellularity, in a sentence; None where there is one."""
        if cellularity_of(self.amounts) is None:
            return NEITHER
        return None if self.is_stained else NOT_STAINED


@dataclass(frozen=True, slots=True)
class Tissue(Composition):
    """What a tile consists of, and where.

    Attributes:
        classes: (h, w) uint8, the class map of the whole tile: places in CLASSES, at about 1 µm per pixel.
    """

    classes: UInt8Array


def cellularity_of(amounts: Int64Array | Float64Array) -> float | None:
    """Return the cellularity, 0–1; None where there is neither haematopoietic tissue nor fat.

    Args:
        amounts: (5,) pixels, areas or shares of each class.
    """
    marrow = float(amounts[HAEMATOPOIETIC] + amounts[FAT])
    return float(amounts[HAEMATOPOIETIC]) / marrow if marrow else None


def picture(classes: UInt8Array) -> UInt8Array:
    """Return a class map as a picture in CLASS_COLORS.

    Args:
        classes: (h, w) uint8, places in CLASSES.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    return np.array([CLASS_COLORS[name] for name in CLASSES], np.uint8)[classes]
