"""The measurements of a slide's cells: how its results show them, and those of neighbours across seams.

A tile does not see as far beyond its core as neighbours are counted, so those are measured when all cells are together.
Every nucleus of the tiles that were analysed is a neighbour, also one that is no cell of the results: see `OTHERS`.
"""

from __future__ import annotations

import base64

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from app.batch.plan.grid import squares
from app.batch.plan.plan import Plan
from app.pipeline.measure.cells import shown
from app.pipeline.measure.neighbours import neighbours_of
from app.pipeline.measure.table import MEASUREMENTS, NEIGHBOURS
from app.pipeline.types import BoolArray, Float32Array, Float64Array

OTHERS = b"other_nuclei"
"""The key in the metadata of a tile's table under which the nuclei of the core are kept that are no cells: those beyond
the regions, and those that the border of the slide cuts by more than half."""


def list_column(values: Float32Array) -> pa.Array:
    """Return (N, M) values, such as measurements, as one column of a table."""
    return pa.FixedSizeListArray.from_arrays(values.ravel(), values.shape[1])


def from_list_column(column: pa.ChunkedArray, n: int = len(MEASUREMENTS)) -> Float32Array:
    """Return the (N, n) values in a `list_column`, all measurements unless n says otherwise."""
    return np.asarray(pc.list_flatten(column).to_numpy(), np.float32).reshape(-1, n)


def exact(values: Float32Array, column: int, rows: BoolArray) -> Float64Array:
    """Return (n,) float64 a measurement of some cells of `SlideCells`, with exactly the digits that are shown."""
    chosen = values[rows, column].astype(np.float64)[:, None]
    return shown(chosen, measurements=MEASUREMENTS[column : column + 1])[:, 0]


def in_um(values: Float32Array, mpp: float, *, scale_known: bool) -> Float64Array:
    """Return measurements in µm, but for the rounding.

    Args:
        values: (N, M) float32, as the results show all MEASUREMENTS.
        mpp: µm per px of the bundle, at which a slide is taken to be whose scale is not known.
        scale_known: whether the scale of the slide is known.
    """
    factors = [1.0 if scale_known else 1 / one.per_pixel(mpp) for one in MEASUREMENTS]
    return np.asarray(values.astype(np.float64) * factors)


def pack_places(places: Float64Array) -> bytes:
    """Return (N, 2) places as bytes for the metadata of a table."""
    return base64.b64encode(np.ascontiguousarray(places, "<f8").tobytes())


def unpack_places(schema: pa.Schema) -> Float64Array:
    """Return the (N, 2) x, y of `OTHERS` in the metadata of a tile's table, in px of level 0."""
    packed = (schema.metadata or {}).get(OTHERS, b"")
    return np.frombuffer(base64.b64decode(packed), "<f8").reshape(-1, 2)


def measure_nearby(centroids: Float64Array, others: Float64Array, plan: Plan) -> Float32Array:
    """Measure the neighbours of every cell, and return them as the results show them.

    Args:
        centroids: (N, 2) float64 x, y of the cells in px of level 0, pixels named by their centres.
        others: (L, 2) float64, the other nuclei.
        plan: the plan of the slide.

    Returns:
        (N, columns of NEIGHBOURS) float32; NaN where a neighbour may lie beyond what was analysed.
    """
    every = np.concatenate([centroids, others])
    # The edges of what was not seen are edges of pixels, and the centre of a pixel lies half a pixel from its edge.
    border = _distance_to_unseen(every + 0.5, plan)
    values = neighbours_of(every * plan.um_per_px, border * plan.um_per_px)[0][: len(centroids)]
    return shown(values, None if plan.mpp is not None else plan.um_per_px, NEIGHBOURS).astype(np.float32)


def _distance_to_unseen(points: Float64Array, plan: Plan) -> Float64Array:
    """Return (N,) px of level 0 from each point to the border of the slide or to the nearest core that was left out.

    Cores without tissue hold no nuclei. Those that were left out because of the regions may hold some.
    """
    unseen: list[shapely.Geometry] = [shapely.box(0, 0, plan.width, plan.height).exterior]
    if plan.regions:
        analysed = set(plan.tiles)
        left_out = (one for one in squares(plan.width, plan.height, plan.tile_px) if (one.x, one.y) not in analysed)
        unseen += [shapely.box(one.x, one.y, one.x + one.width, one.y + one.height) for one in left_out]
    tree = shapely.STRtree(unseen)
    distances = np.full(len(points), np.inf)
    (numbers, _), found = tree.query_nearest(shapely.points(points), return_distance=True)
    distances[numbers] = found
    return distances
