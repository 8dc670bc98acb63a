"""What tells a nucleus from other objects: size, shape, density and outline, measured for thousands at once."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from app.pipeline.nuclei.runs import Runs, hull_areas
from app.pipeline.types import BoolArray, Float32Array, Float64Array, Int64Array

SCHARR_SUM = 32.0


class Field:
    """Density of a tile, made ready for sums over runs and along outlines.

    Args:
        density: (H, W) float32.

    Attributes:
        shape: H, W.
        gradient: (H * W,) float32, per px.
        sums: (H * W,) float32, of a row up to and with each pixel.
    """

    def __init__(self, density: Float32Array) -> None:
        dx, dy = (cv2.Scharr(density, cv2.CV_32F, *along, scale=1 / SCHARR_SUM) for along in ((1, 0), (0, 1)))
        self.shape: tuple[int, ...] = density.shape
        self.gradient = np.asarray(cv2.magnitude(dx, dy), dtype=np.float32).ravel()
        self.sums = np.cumsum(density, axis=1).ravel()


@dataclass(frozen=True, slots=True)
class Outlined:
    """Objects as pixels: N of them.

    Attributes:
        runs: places in the tile, in the order of their owners and then of the tile.
        owners: (R,) int64 object of each run.
        border: (P,) int64 places of the pixels that have a side in common with what is not the object.
        border_owners: (P,) int64 object of each.
        holes: (N,) int64, how many holes each has.
    """

    runs: Runs
    owners: Int64Array
    border: Int64Array
    border_owners: Int64Array
    holes: Int64Array

    def __len__(self) -> int:
        """Number of objects."""
        return int(self.holes.size)

    @property
    def areas_px(self) -> Int64Array:
        """(N,) int64, number of pixels of each."""
        return np.bincount(self.owners, weights=self.runs.lengths, minlength=len(self)).astype(np.int64)

    def only(self, chosen: BoolArray) -> Outlined:
        """The objects for which the (N,) mask holds, numbered anew."""
        new = np.cumsum(chosen) - 1
        runs, border = chosen[self.owners], chosen[self.border_owners]
        return Outlined(
            self.runs[runs],
            new[self.owners[runs]],
            self.border[border],
            new[self.border_owners[border]],
            self.holes[chosen],
        )

    def joined(self, others: Outlined) -> Outlined:
        """These objects, and then the others."""
        n = len(self)
        return Outlined(
            Runs(
                np.concatenate([self.runs.starts, others.runs.starts]),
                np.concatenate([self.runs.ends, others.runs.ends]),
            ),
            np.concatenate([self.owners, others.owners + n]),
            np.concatenate([self.border, others.border]),
            np.concatenate([self.border_owners, others.border_owners + n]),
            np.concatenate([self.holes, others.holes]),
        )


@dataclass(frozen=True, slots=True)
class Measures:
    """Measures of N objects.

    Attributes:
        area_px: (N,) int64, number of pixels.
        solidity: (N,) float64, area over that of the convex hull, 0–1.
        edge: (N,) float64, mean gradient of relative density along the outline, per px.
        density: (N,) float64, mean relative density; 1 is what parts nuclei from the rest.
    """

    area_px: Int64Array
    solidity: Float64Array
    edge: Float64Array
    density: Float64Array

    def joined(self, others: Measures) -> Measures:
        """These objects, and then the others."""
        columns = ("area_px", "solidity", "edge", "density")
        return Measures(*(np.concatenate([getattr(self, name), getattr(others, name)]) for name in columns))


def measure_objects(objects: Outlined, field: Field) -> Measures:
    """Measure objects that are no wider than the tile's frame lets them be.

    Args:
        objects: of the tile.
        field: of the same tile.
    """
    n, owners = len(objects), objects.owners
    area = objects.areas_px
    # No run begins in the frame's first column.
    sums = field.sums[objects.runs.ends - 1] - field.sums[objects.runs.starts - 1]
    density = np.bincount(owners, weights=sums, minlength=n)
    n_border = np.bincount(objects.border_owners, minlength=n)
    edge = np.bincount(objects.border_owners, weights=field.gradient[objects.border], minlength=n)
    rows, columns = np.divmod(objects.runs.starts, field.shape[1])
    # Pick's theorem turns the area of a polygon through pixel centres into a number of pixels.
    hull = hull_areas(owners, rows, columns, columns + objects.runs.lengths, n) + n_border / 2 + 1
    found = Measures(area, area / hull, edge / n_border, density / area)
    for i in np.flatnonzero(objects.holes):
        found.solidity[i], found.edge[i] = _along_outer_outline(objects.runs[owners == i], field)
    return found


def _along_outer_outline(runs: Runs, field: Field) -> tuple[float, float]:
    """Solidity and edge of an object with holes: what borders on a hole is no outline."""
    rows, columns = np.divmod(runs.places(), field.shape[1])
    top, left = rows.min(), columns.min()
    mask = np.zeros((rows.max() + 1 - top, columns.max() + 1 - left), np.uint8)
    mask[rows - top, columns - left] = 1
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=len)
    rim = len(outline) / 2 + 1
    solidity = (cv2.contourArea(outline) + rim) / (cv2.contourArea(cv2.convexHull(outline)) + rim)
    places = (outline[:, 0, 1] + top) * field.shape[1] + outline[:, 0, 0] + left
    return solidity, float(field.gradient[places].mean())
