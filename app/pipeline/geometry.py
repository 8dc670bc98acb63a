"""Two scales of one tile: the upload's, and the bundle's, at which nuclei are found.

The tile is resized to the bundle's µm per pixel before it is analysed, and what is found is mapped back here, in this
one place. Two conventions meet, and mixing them shifts an outline by up to half a pixel:

- A *point* (a centroid, a vertex of a contour) names a pixel by its centre: pixel i covers [i − 0.5, i + 0.5).
- An *edge* (a side of a bounding box, a vertex of a polygon) lies between pixels: pixel i covers [i, i + 1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from app.pipeline.errors import TileTooLarge
from app.pipeline.memory import memory_errors
from app.pipeline.nuclei.outlines import Polygon, contours, polygons
from app.pipeline.types import (
    BoolArray,
    Float32Array,
    Float64Array,
    Int32Array,
    Int64Array,
    Nuclei,
    Tile,
    UInt8Array,
)


def rescale(pixels: UInt8Array, factor: float, *, max_pixels: int) -> UInt8Array:
    """Resize a tile by the same factor along x and y; a factor of 1 returns the pixels as they are.

    Args:
        pixels: (H, W, 3) uint8.
        factor: new size over old size.
        max_pixels: largest result.

    Raises:
        TileTooLarge: the result would have more than `max_pixels`.
    """
    if factor == 1.0:
        return pixels
    height, width = (max(1, round(side * factor)) for side in pixels.shape[:2])
    if width * height > max_pixels:
        raise TileTooLarge(
            f"At the bundle's scale the tile would be {width} x {height}, more than {max_pixels} pixels."
        )
    return resize(pixels, width, height)


def resize(pixels: UInt8Array, width: int, height: int) -> UInt8Array:
    """Resize a picture by averaging where it shrinks, and by cubic interpolation where it grows.

    Args:
        pixels: (H, W, 3) uint8.
        width: new width, px.
        height: new height, px.

    Returns:
        (height, width, 3) uint8; the same array where it has this size already.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    # Area averaging does not alias when a picture shrinks; cubic interpolation keeps edges when it grows.
    is_shrunk = height <= pixels.shape[0] and width <= pixels.shape[1]
    method = cv2.INTER_AREA if is_shrunk else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=method), dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class PixelMap:
    """Maps coordinates of an analysed tile to those of the picture that it was cut from or resized from.

    Attributes:
        scale: (2,) float64 along x and y, px of the picture per px of the analysed tile.
        origin: (2,) float64 x, y of the tile's top left corner in the picture, px of the picture.
    """

    scale: Float64Array
    origin: Float64Array

    @classmethod
    def onto(
        cls, size: tuple[int, int], analysed: tuple[int, ...], origin: tuple[float, float] = (0.0, 0.0)
    ) -> PixelMap:
        """Return the map from an analysed tile onto the part of a picture that it shows.

        Args:
            size: width and height of that part, px of the picture.
            analysed: shape (H, W) or (H, W, …) of the analysed tile.
            origin: x, y of the part's top left corner in the picture.
        """
        return cls(np.array(size) / (analysed[1], analysed[0]), np.array(origin, dtype=np.float64))

    def points(self, points: Float64Array | Int32Array) -> Float64Array:
        """Map (…, 2) points x, y, which name pixels by their centres."""
        return np.asarray((points + 0.5) * self.scale - 0.5 + self.origin)

    def edges(self, edges: Float64Array | Int64Array) -> Float64Array:
        """Map (…, 2) points x, y that lie on edges of pixels."""
        return np.asarray(edges * self.scale + self.origin)

    def boxes(self, boxes: Int64Array) -> Float64Array:
        """Map (N, 4) boxes x0, y0, x1, y1 with exclusive x1 and y1, which makes all four of them edges."""
        return np.asarray(boxes * np.tile(self.scale, 2) + np.tile(self.origin, 2))

    def areas(self, areas_px: Int64Array) -> Float64Array:
        """Convert (N,) areas from px² of the analysed tile to px² of the picture."""
        return np.asarray(areas_px * self.scale.prod())


@dataclass(frozen=True)
class Cells:
    """The cells of a tile, in pixels of the upload; row i of every array is cell i.

    Outlines and the label image are computed when they are first asked for: most forms of the answer need one of them.

    Attributes:
        nuclei: one for each cell, at the analysed scale.
        cluster_probs: (N, K) float32.
        upload: width and height of the upload, px.
        outlines: of the nuclei, where they are known; see `nuclei.outlines.contours`.
    """

    nuclei: Nuclei
    cluster_probs: Float32Array
    upload: tuple[int, int]
    outlines: list[Int32Array] | None = None

    @classmethod
    def of_tile(
        cls, nuclei: Nuclei, cluster_probs: Float32Array, tile: Tile, outlines: list[Int32Array] | None = None
    ) -> Cells:
        """Return the cells of an uploaded tile."""
        return cls(nuclei, cluster_probs, (tile.width, tile.height), outlines)

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.nuclei)

    @property
    def touches_border(self) -> BoolArray:
        """(N,) bool, whether the tile's border cuts the cell or may do so."""
        return self.nuclei.touches_border

    @cached_property
    def centroids(self) -> Float64Array:
        """(N, 2) float64 x, y of points."""
        return self._to_upload.points(self.nuclei.centroids)

    @cached_property
    def bboxes(self) -> Float64Array:
        """(N, 4) float64 edges x0, y0, x1, y1."""
        return self._to_upload.boxes(self.nuclei.bboxes)

    @cached_property
    def areas_px(self) -> Float64Array:
        """(N,) float64."""
        return self._to_upload.areas(self.nuclei.areas_px)

    @cached_property
    @memory_errors()
    def contours(self) -> list[Float64Array]:
        """N arrays (V, 2) float64 of points x, y, not closed; see `nuclei.outlines.contours`."""
        last = np.array(self.upload) - 1
        outlines = contours(self.nuclei) if self.outlines is None else self.outlines
        return _mapped(outlines, lambda points: self._to_upload.points(points).clip(0, last))

    @cached_property
    @memory_errors()
    def polygons(self) -> list[Polygon]:
        """N polygons of edges x, y, closed; see `nuclei.outlines.polygons`."""
        found = polygons(self.nuclei)
        rings = iter(_mapped([ring for polygon in found for ring in polygon], self._to_upload.edges))
        return [[next(rings) for _ in polygon] for polygon in found]

    @cached_property
    @memory_errors()
    def label_image(self) -> Int32Array:
        """(H, W) int32 of the upload's size, 0 = background, i + 1 = cell i.

        At the bundle's scale a cell has `areas_px` pixels; at another one it has those whose centre lies in it. Where
        that is none, since the upload's pixels are larger than the nucleus, it has the pixel nearest to its centroid;
        of several such cells in one pixel only the last is seen.
        """
        resized = cv2.resize(self.nuclei.label_image, self.upload, interpolation=cv2.INTER_NEAREST_EXACT)
        label_image = np.asarray(resized, dtype=np.int32)
        seen_px = np.bincount(label_image.ravel(), minlength=len(self) + 1)[1:]
        unseen = np.flatnonzero(seen_px == 0)
        x, y = np.rint(self.centroids[unseen]).astype(int).T
        label_image[y, x] = unseen + 1
        return label_image

    @property
    def _to_upload(self) -> PixelMap:
        return PixelMap.onto(self.upload, self.nuclei.label_image.shape)


def _mapped(
    arrays: Sequence[Float64Array | Int32Array], to: Callable[[Float64Array], Float64Array]
) -> list[Float64Array]:
    """Map arrays (V, 2) of any lengths, all of them at once."""
    every = to(np.concatenate([np.zeros((0, 2)), *arrays]))
    return np.split(every, np.cumsum([len(array) for array in arrays], dtype=int))[:-1]
