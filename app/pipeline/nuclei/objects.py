"""Objects that may be nuclei, thousands at once, and what distinguishes nuclei: size, shape, density and outline."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from app.pipeline.nuclei.run_lengths import RunLengths, hull_areas
from app.pipeline.types import BoolArray, Float32Array, Float64Array, Int64Array

SCHARR_SUM = 32.0
"""Sum of the absolute weights of Scharr's kernel: a gradient divided by it is per px."""


class DensityField:
    """The density of a tile, prepared for sums over runs and means along outlines.

    Args:
        density: (H, W) float32.

    Attributes:
        shape: H, W.
        gradient: (H · W,) float32, magnitude of the density's gradient, per px.
        sums: (H · W,) float32, sum of a row's density from its start to each pixel, which is included.
    """

    def __init__(self, density: Float32Array) -> None:
        dx, dy = (cv2.Scharr(density, cv2.CV_32F, *along, scale=1 / SCHARR_SUM) for along in ((1, 0), (0, 1)))
        self.shape: tuple[int, ...] = density.shape
        self.gradient = np.asarray(cv2.magnitude(dx, dy), dtype=np.float32).ravel()
        self.sums = np.cumsum(density, axis=1).ravel()


@dataclass(frozen=True, slots=True)
class Objects:
    """N objects of a tile, as pixels; they may overlap.

    Attributes:
        rle: R runs in the tile, object by object, and in rising order within an object.
        owners: (R,) int64 object of each run.
        border: (P,) int64 places of the border pixels, which share a side with a pixel outside the object.
        border_owners: (P,) int64 object of each border pixel.
        holes: (N,) int64, how many holes each object has.
    """

    rle: RunLengths
    owners: Int64Array
    border: Int64Array
    border_owners: Int64Array
    holes: Int64Array

    def __len__(self) -> int:
        """Number of objects."""
        return int(self.holes.size)

    @property
    def areas_px(self) -> Int64Array:
        """(N,) int64, number of pixels of each object."""
        return np.bincount(self.owners, weights=self.rle.lengths, minlength=len(self)).astype(np.int64)

    def only(self, chosen: BoolArray) -> Objects:
        """Return the objects for which the (N,) mask holds, with new numbers."""
        new = np.cumsum(chosen) - 1
        of_runs, of_border = chosen[self.owners], chosen[self.border_owners]
        return Objects(
            self.rle[of_runs],
            new[self.owners[of_runs]],
            self.border[of_border],
            new[self.border_owners[of_border]],
            self.holes[chosen],
        )

    def joined(self, more: Objects) -> Objects:
        """Return these objects, followed by more."""
        n = len(self)
        return Objects(
            RunLengths(
                np.concatenate([self.rle.starts, more.rle.starts]),
                np.concatenate([self.rle.ends, more.rle.ends]),
            ),
            np.concatenate([self.owners, more.owners + n]),
            np.concatenate([self.border, more.border]),
            np.concatenate([self.border_owners, more.border_owners + n]),
            np.concatenate([self.holes, more.holes]),
        )


@dataclass(frozen=True, slots=True)
class ObjectMeasures:
    """What is measured of N objects.

    Attributes:
        area_px: (N,) int64, number of pixels.
        solidity: (N,) float64, area over that of the convex hull, 0–1.
        edge: (N,) float64, mean gradient of the relative density along the outline, per px.
        density: (N,) float64, mean relative density; 1 is the density that separates nuclei from the rest.
    """

    area_px: Int64Array
    solidity: Float64Array
    edge: Float64Array
    density: Float64Array

    def joined(self, more: ObjectMeasures) -> ObjectMeasures:
        """Return the measures of these objects, followed by those of more."""
        columns = ("area_px", "solidity", "edge", "density")
        return ObjectMeasures(*(np.concatenate([getattr(self, name), getattr(more, name)]) for name in columns))


def measure_objects(objects: Objects, field: DensityField) -> ObjectMeasures:
    """Measure objects.

    Args:
        objects: objects of a tile, none of which reaches its first column.
        field: density of the same tile.
    """
    n, owners = len(objects), objects.owners
    area = objects.areas_px
    # No run begins in the first column, so the pixel before a run lies in the same row.
    sums = field.sums[objects.rle.ends - 1] - field.sums[objects.rle.starts - 1]
    density = np.bincount(owners, weights=sums, minlength=n)
    n_border = np.bincount(objects.border_owners, minlength=n)
    edge = np.bincount(objects.border_owners, weights=field.gradient[objects.border], minlength=n)
    rows, columns = np.divmod(objects.rle.starts, field.shape[1])
    # Pick's theorem turns the area of a polygon through pixel centres into a number of pixels.
    hull = hull_areas(owners, rows, columns, columns + objects.rle.lengths, n) + n_border / 2 + 1
    measured = ObjectMeasures(area, area / hull, edge / n_border, density / area)
    for i in np.flatnonzero(objects.holes):
        measured.solidity[i], measured.edge[i] = _along_outer_outline(objects.rle[owners == i], field)
    return measured


def _along_outer_outline(rle: RunLengths, field: DensityField) -> tuple[float, float]:
    """Return the solidity and edge of one object with holes, whose pixels at a hole are no part of the outline."""
    rows, columns = np.divmod(rle.places(), field.shape[1])
    top, left = rows.min(), columns.min()
    mask = np.zeros((rows.max() + 1 - top, columns.max() + 1 - left), np.uint8)
    mask[rows - top, columns - left] = 1
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=len)
    # Pick's theorem again.
    rim = len(outline) / 2 + 1
    solidity = (cv2.contourArea(outline) + rim) / (cv2.contourArea(cv2.convexHull(outline)) + rim)
    places = (outline[:, 0, 1] + top) * field.shape[1] + outline[:, 0, 0] + left
    return solidity, float(field.gradient[places].mean())
