"""Nuclei as the best outlined objects among those that many thresholds give.

No one threshold fits all nuclei of a tile: pale ones need a low one, touching ones a high one. Objects at rising levels
of haematoxylin density lie within each other and make a tree (Matas et al. 2004, "MSER"; Arteta et al. 2012). Each is
scored by size, shape, density and outline, and the best set of objects that do not overlap is kept. Nothing is learned.

All levels are found at once: a flat morphology of a picture of ranks is that of each of its levels (Serra 1982).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from app.pipeline.nuclei.objects import Field, Measures, Outlined, measure_objects
from app.pipeline.nuclei.runs import Runs, components_of, ranges, runs_of, stack_places
from app.pipeline.nuclei.split import CROSS, disc, divide
from app.pipeline.presets import LevelParams, ScoreParams
from app.pipeline.stain.optical_density import density_image
from app.pipeline.types import BoolArray, Float32Array, Float64Array, Int32Array, Int64Array, UInt8Array

PART = 0
"""Level of what is a part of an object."""
CHILDREN, PARTS = 0, 1
"""What an object may give way to: what it falls into at the next level, or is divided into."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Objects that may be nuclei, a row each. What lies in an object comes after it.

    Attributes:
        objects: their pixels.
        measures: of each.
        parents: (N,) int64 row of the object that it lies in, −1 for one of the lowest level.
        levels: (N,) int64 1…L; PART for a part, that a waist divides an object into.
    """

    objects: Outlined
    measures: Measures
    parents: Int64Array
    levels: Int64Array


def segment_by_levels(haematoxylin: UInt8Array, nuclear_density: float, params: LevelParams) -> Int32Array:
    """Nuclei of a tile.

    Args:
        haematoxylin: (H, W) uint8 intensity, dark = stained; 255 where there is no tissue.
        nuclear_density: of the tile or its slide (`optical_density.nuclear_density`); held within the preset's range.
        params: levels, shapes and scores.

    Returns:
        (H, W) int32 labels, 0 = background, 1…N in reading order of their topmost pixel.
    """
    # Glass round the tile makes its border and white beyond it the same thing; 4 sigma is how far smoothing sees, and
    # one pixel more is never stained.
    margin = int(np.ceil(4 * params.smoothing_px)) + 1
    framed = np.pad(haematoxylin, margin, constant_values=255)
    low, high = params.nuclear_density_range
    density = density_image(framed, params.smoothing_px) / np.float32(np.clip(nuclear_density, low, high))
    tree = grow(density, params)
    chosen = select(score(tree.measures, params.score), tree.parents, tree.levels)
    return _painted(tree.objects.only(chosen), density.shape[1], margin, haematoxylin.shape)


def _painted(nuclei: Outlined, width: int, margin: int, shape: tuple[int, ...]) -> Int32Array:
    """Labels of nuclei of a framed tile, the frame cut off."""
    rows, columns = np.divmod(nuclei.runs.starts, width)
    rows, first = rows - margin, (columns - margin).clip(0)
    last = (columns + nuclei.runs.lengths - margin).clip(max=shape[1])
    seen = (rows >= 0) & (rows < shape[0]) & (first < last)
    starts, lengths = (rows * shape[1] + first)[seen], (last - first)[seen]
    # In reading order of their topmost pixel; an owner's runs are in the tile's order.
    owners, of_run = np.unique(nuclei.owners[seen], return_inverse=True)
    topmost = starts[np.flatnonzero(np.diff(of_run, prepend=-1))]
    numbers = np.empty(owners.size, np.int32)
    numbers[np.argsort(topmost)] = np.arange(1, owners.size + 1)
    labels = np.zeros(shape, np.int32)
    labels.ravel()[ranges(starts, starts + lengths)] = np.repeat(numbers[of_run], lengths)
    return labels


def rank(density: Float32Array, levels: tuple[float, ...]) -> UInt8Array:
    """How many of the levels each pixel exceeds, (H, W) uint8."""
    ranks = np.zeros(density.shape, np.uint8)
    for level in levels:
        ranks += density > np.float32(level)
    return ranks


def clean(ranks: UInt8Array, params: LevelParams) -> UInt8Array:
    """Close gaps of a rim, fill hollow nuclei, cut thin bridges: of each level by itself, and they stay nested.

    Args:
        ranks: (H, W) uint8, 0 on the frame.
        params: radii and largest hole.
    """
    closed = np.asarray(cv2.morphologyEx(ranks, cv2.MORPH_CLOSE, disc(params.closing_px)), dtype=np.uint8)
    filled = fill_holes(closed, params.max_hole_px)
    return np.asarray(cv2.morphologyEx(filled, cv2.MORPH_OPEN, disc(params.opening_px)), dtype=np.uint8)


def fill_holes(ranks: UInt8Array, max_hole_px: int) -> UInt8Array:
    """Fill the small holes of each level; glass round the tile is none, however small the tile.

    Args:
        ranks: (H, W) uint8, 0 on the frame.
        max_hole_px: largest hole that is filled.
    """
    top = int(ranks.max(initial=0))
    # Turned round: its level i is what is not in level top + 1 - i.
    runs = runs_of(top - ranks)
    gaps = components_of(runs, ranks.shape[1], diagonal=False)
    hole = np.bincount(gaps.of_run, weights=runs.lengths, minlength=gaps.number) <= max_hole_px
    hole[gaps.of_run[runs.starts % ranks.size == 0]] = False
    levels, places = np.divmod(runs[hole[gaps.of_run]].places(), ranks.size)
    filled = ranks.ravel().copy()
    np.maximum.at(filled, places, (top + 1 - levels).astype(np.uint8))
    return filled.reshape(ranks.shape)


def grow(density: Float32Array, params: LevelParams) -> Tree:
    """The tree of objects at rising levels, and their parts.

    Args:
        density: (H, W) float32 relative density, below the levels on its frame.
        params: levels and shapes.
    """
    ranks = clean(rank(density, params.levels), params)
    objects, parents, levels = _objects_of(ranks, params)
    field = Field(density)
    measures = measure_objects(objects, field)
    too_large = measures.area_px > params.max_area_px
    measures.edge[too_large] = 0
    has_waist = ~too_large & (measures.solidity < params.waist_solidity)
    parts, of_waisted = divide(objects.only(has_waist), ranks.shape[1], params)
    large_enough = parts.areas_px >= params.min_area_px
    parts, of_waisted = parts.only(large_enough), of_waisted[large_enough]
    return Tree(
        objects=objects.joined(parts),
        measures=measures.joined(measure_objects(parts, field)),
        parents=np.concatenate([parents, np.flatnonzero(has_waist)[of_waisted]]),
        levels=np.concatenate([levels, np.full(len(parts), PART)]),
    )


def _objects_of(ranks: UInt8Array, params: LevelParams) -> tuple[Outlined, Int64Array, Int64Array]:
    """The objects of every level of a picture of ranks, the object that each lies in, and its level."""
    runs = runs_of(ranks)
    components = components_of(runs, ranks.shape[1], diagonal=True)
    area = np.bincount(components.of_run, weights=runs.lengths, minlength=components.number)
    kept = area >= params.min_area_px
    # Of several values for one place numpy keeps the last: turned round, that of an object's first run.
    first = np.empty(components.number, np.int64)
    first[components.of_run[::-1]] = runs.starts[::-1]
    first = first[kept]
    # The first pixel of an object is one of the object that it lies in, a level below.
    below = np.searchsorted(runs.starts, first - ranks.size, side="right") - 1
    parents = np.where(below >= 0, (np.cumsum(kept) - 1)[components.of_run[below]], -1)
    eroded = np.asarray(cv2.erode(ranks, CROSS), dtype=np.uint8).ravel()
    places = np.flatnonzero(ranks.ravel() != eroded)
    border = stack_places(places, eroded[places], ranks.ravel()[places], ranks.size)
    border_owners = components.of_run[np.searchsorted(runs.starts, border, side="right") - 1]
    order = np.argsort(components.of_run, kind="stable")
    starts = runs.starts[order] % ranks.size
    everything = Outlined(
        runs=Runs(starts, starts + runs.lengths[order]),
        owners=components.of_run[order],
        border=border % ranks.size,
        border_owners=border_owners,
        # Nobody asks for the outline of what is too large for a nucleus.
        holes=np.where(area <= params.max_area_px, components.holes, 0),
    )
    return everything.only(kept), parents, first // ranks.size


def score(measures: Measures, params: ScoreParams) -> Float64Array:
    """How much objects look like nuclei; what has more than 0 is taken for one, and −inf cannot be one."""
    area = np.log(measures.area_px)
    possible = (measures.edge > 0) & (measures.density > 0)
    logs = {name: np.log(np.where(possible, getattr(measures, name), 1)) for name in ("edge", "density")}
    values = (
        params.bias
        - params.small * np.maximum(0.0, np.log(params.small_area_px) - area)
        - params.large * np.maximum(0.0, area - np.log(params.large_area_px))
        - params.shape * (1 - measures.solidity)
        + params.edge * logs["edge"]
        + params.density * logs["density"]
    )
    return np.where(possible, values, -np.inf)


def select(scores: Float64Array, parents: Int64Array, levels: Int64Array) -> BoolArray:
    """The best objects that do not overlap.

    An object gives way to what it falls into, or is divided into, where that scores better on average.

    Args:
        scores: (N,) float64.
        parents: see `Tree`.
        levels: see `Tree`.

    Returns:
        (N,) bool.
    """
    n = len(scores)
    possible = scores > -np.inf
    # What cannot be a nucleus must not speak for those beside it: it counts for nothing.
    total, count = np.where(possible, scores, 0.0), possible.astype(np.int64)
    inner_total, inner_count = np.zeros((2, n)), np.zeros((2, n), np.int64)

    def add(group: int, members: Int64Array) -> None:
        inner_total[group] += np.bincount(parents[members], weights=total[members], minlength=n)
        inner_count[group] += np.bincount(parents[members], weights=count[members], minlength=n).astype(np.int64)

    add(PARTS, np.flatnonzero(levels == PART))
    best, gives_way_to = scores.copy(), np.full(n, -1)
    for level in range(levels.max(initial=PART), PART, -1):
        here = np.flatnonzero(levels == level)
        for group in (CHILDREN, PARTS):
            some = here[inner_count[group, here] > 0]
            mean = inner_total[group, some] / inner_count[group, some]
            better, mean = some[mean > best[some]], mean[mean > best[some]]
            best[better], gives_way_to[better] = mean, group
            total[better], count[better] = inner_total[group, better], inner_count[group, better]
        add(CHILDREN, here[parents[here] >= 0])
    return _shown(parents, levels, gives_way_to) & (gives_way_to < 0) & (scores > 0)


def _shown(parents: Int64Array, levels: Int64Array, gives_way_to: Int64Array) -> BoolArray:
    """Objects that everything they lie in gives way to."""
    shown = parents < 0
    for level in (*range(2, levels.max(initial=PART) + 1), PART):
        here = np.flatnonzero(levels == level)
        group = PARTS if level == PART else CHILDREN
        shown[here] = shown[parents[here]] & (gives_way_to[parents[here]] == group)
    return shown
