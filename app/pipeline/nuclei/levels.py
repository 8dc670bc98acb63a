"""Nuclei as the best outlined objects among those that many thresholds give.

No one threshold fits all nuclei of a tile: pale ones need a low one, touching ones a high one. The objects at rising
levels of haematoxylin density lie within each other and form a tree (Matas et al. 2004, "MSER"; Arteta et al. 2012).
Each is scored by size, shape, density and outline, and the best set of objects that do not overlap is kept. The weights
are fixed numbers; nothing is learned here.

All levels are processed at once: a flat morphological operation on a picture of ranks does the same to each of its
levels (Serra 1982).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from app.pipeline.nuclei.flood import disc
from app.pipeline.nuclei.measure import measure_runs
from app.pipeline.nuclei.objects import DensityField, ObjectMeasures, Objects, measure_objects
from app.pipeline.nuclei.run_lengths import RunLengths, connect, encode_ranks, fill_holes, stack_places
from app.pipeline.nuclei.split import CROSS, split_at_waists
from app.pipeline.presets import LevelParams, OutlineParams, ScoreParams
from app.pipeline.stain.optical_density import density_image
from app.pipeline.types import BoolArray, Float32Array, Float64Array, Int64Array, Nuclei, UInt8Array

PIECE = 0
"""Level of a piece that an object is split into at its waists."""
CHILDREN, PIECES = 0, 1
"""What an object may give way to: the objects within it at the next level, or its pieces."""


@dataclass(frozen=True, slots=True)
class Tree:
    """N objects that may be nuclei; an object comes before those that lie in it.

    Attributes:
        objects: their pixels.
        measures: what is measured of each.
        parents: (N,) int64 the object that each lies in, −1 for one of the lowest level.
        levels: (N,) int64 1…L, or PIECE.
    """

    objects: Objects
    measures: ObjectMeasures
    parents: Int64Array
    levels: Int64Array


def segment_by_levels(haematoxylin: UInt8Array, nuclear_density: float, params: LevelParams) -> Nuclei:
    """Find the nuclei of a tile.

    Args:
        haematoxylin: (H, W) uint8 intensity, dark = stained; 255 where there is no tissue.
        nuclear_density: density that separates nuclei from the rest, of the tile or its slide, 0–255; it is limited to
            the preset's range. See `optical_density.nuclear_density`.
        params: levels, shapes and scores.

    Returns:
        Nuclei in reading order of their topmost pixel.
    """
    # A frame of glass makes the tile's border the same as white beyond it. Smoothing reaches 4 sigma, and one pixel
    # more is never stained.
    margin = int(np.ceil(4 * params.smoothing_px)) + 1
    framed = np.pad(haematoxylin, margin, constant_values=255)
    low, high = params.nuclear_density_range
    density = density_image(framed, params.smoothing_px) / np.float32(np.clip(nuclear_density, low, high))
    tree = grow(density, params)
    chosen = select(score(tree.measures, params.score), tree.parents, tree.levels)
    if params.outline is not None:
        chosen = at_half_density(tree, chosen, params, params.outline)
    return _without_frame(tree.objects.only(chosen), density.shape[1], margin, haematoxylin.shape)


def _without_frame(objects: Objects, width: int, margin: int, shape: tuple[int, ...]) -> Nuclei:
    """Return the nuclei of a tile whose objects were found in a framed one.

    Args:
        objects: those that are nuclei.
        width: width of the framed tile, px.
        margin: width of the frame, px.
        shape: H, W of the tile.
    """
    rows, columns = np.divmod(objects.rle.starts, width)
    rows, first = rows - margin, (columns - margin).clip(0)
    last = (columns + objects.rle.lengths - margin).clip(max=shape[1])
    seen = (rows >= 0) & (rows < shape[0]) & (first < last)
    starts, ends = (rows * shape[1] + first)[seen], (rows * shape[1] + last)[seen]
    owners, of_run = np.unique(objects.owners[seen], return_inverse=True)
    # The first run of an object begins with its topmost pixel.
    topmost = starts[np.flatnonzero(np.diff(of_run, prepend=-1))]
    numbers = np.empty(owners.size, np.int64)
    numbers[np.argsort(topmost)] = np.arange(owners.size)
    order = np.argsort(numbers[of_run], kind="stable")
    return measure_runs(RunLengths(starts[order], ends[order]), numbers[of_run][order], shape)


def rank(density: Float32Array, levels: tuple[float, ...]) -> UInt8Array:
    """Return how many of the levels each pixel exceeds, (H, W) uint8."""
    ranks = np.zeros(density.shape, np.uint8)
    for level in levels:
        ranks += density > np.float32(level)
    return ranks


def clean(ranks: UInt8Array, params: LevelParams) -> UInt8Array:
    """Close gaps in rims, fill hollow nuclei and cut thin bridges, at each level; the levels stay nested.

    Args:
        ranks: (H, W) uint8, 0 on the frame.
        params: radii of the operations, and the largest hole that is filled.
    """
    closed = np.asarray(cv2.morphologyEx(ranks, cv2.MORPH_CLOSE, disc(params.closing_px)), dtype=np.uint8)
    filled = fill_holes(closed, params.max_hole_px)
    return np.asarray(cv2.morphologyEx(filled, cv2.MORPH_OPEN, disc(params.opening_px)), dtype=np.uint8)


def grow(density: Float32Array, params: LevelParams) -> Tree:
    """Build the tree of objects at rising levels, and of the pieces that they are split into.

    Args:
        density: (H, W) float32 relative density; on its frame it is below all levels.
        params: levels and shapes.
    """
    ranks = clean(rank(density, params.levels), params)
    objects, parents, levels = _objects_of(ranks, params)
    field = DensityField(density)
    measures = measure_objects(objects, field)
    too_large = measures.area_px > params.max_area_px
    measures.edge[too_large] = 0
    has_waist = ~too_large & (measures.solidity < params.waist_solidity)
    pieces, of_waisted = split_at_waists(objects.only(has_waist), ranks.shape[1], params)
    large_enough = pieces.areas_px >= params.min_area_px
    pieces, of_waisted = pieces.only(large_enough), of_waisted[large_enough]
    return Tree(
        objects=objects.joined(pieces),
        measures=measures.joined(measure_objects(pieces, field)),
        parents=np.concatenate([parents, np.flatnonzero(has_waist)[of_waisted]]),
        levels=np.concatenate([levels, np.full(len(pieces), PIECE)]),
    )


def _objects_of(ranks: UInt8Array, params: LevelParams) -> tuple[Objects, Int64Array, Int64Array]:
    """Return the N objects of all levels of a picture of ranks, the (N,) object that each lies in, and its level."""
    rle = encode_ranks(ranks)
    components = connect(rle, ranks.shape[1], diagonal=True)
    area = np.bincount(components.of_run, weights=rle.lengths, minlength=components.number)
    kept = area >= params.min_area_px
    # Of several values for one place numpy keeps the last: in reverse order that is an object's first run.
    first = np.empty(components.number, np.int64)
    first[components.of_run[::-1]] = rle.starts[::-1]
    first = first[kept]
    # An object lies in the one that has its first pixel at the level below.
    below = np.searchsorted(rle.starts, first - ranks.size, side="right") - 1
    parents = np.where(below >= 0, (np.cumsum(kept) - 1)[components.of_run[below]], -1)
    eroded = np.asarray(cv2.erode(ranks, CROSS), dtype=np.uint8).ravel()
    places = np.flatnonzero(ranks.ravel() != eroded)
    border = stack_places(places, eroded[places], ranks.ravel()[places], ranks.size)
    border_owners = components.of_run[np.searchsorted(rle.starts, border, side="right") - 1]
    order = np.argsort(components.of_run, kind="stable")
    starts = rle.starts[order] % ranks.size
    everything = Objects(
        rle=RunLengths(starts, starts + rle.lengths[order]),
        owners=components.of_run[order],
        border=border % ranks.size,
        border_owners=border_owners,
        # The outline of an object that is too large for a nucleus is never used, so its holes need not be known.
        holes=np.where(area <= params.max_area_px, components.holes, 0),
    )
    return everything.only(kept), parents, first // ranks.size


def score(measures: ObjectMeasures, params: ScoreParams) -> Float64Array:
    """Return how much each object looks like a nucleus: above 0 it may be one, and at −inf it cannot be one."""
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
    """Choose the best objects that do not overlap.

    An object gives way to the objects within it, or to its pieces, if their mean score is higher.

    Args:
        scores: (N,) float64.
        parents: see `Tree`.
        levels: see `Tree`.

    Returns:
        (N,) bool.
    """
    n = len(scores)
    possible = scores > -np.inf
    # An object that cannot be a nucleus is left out of the mean score of its siblings.
    total, count = np.where(possible, scores, 0.0), possible.astype(np.int64)
    inner_total, inner_count = np.zeros((2, n)), np.zeros((2, n), np.int64)

    def add(group: int, members: Int64Array) -> None:
        inner_total[group] += np.bincount(parents[members], weights=total[members], minlength=n)
        inner_count[group] += np.bincount(parents[members], weights=count[members], minlength=n).astype(np.int64)

    add(PIECES, np.flatnonzero(levels == PIECE))
    best, gives_way_to = scores.copy(), np.full(n, -1)
    for level in range(levels.max(initial=PIECE), PIECE, -1):
        here = np.flatnonzero(levels == level)
        for group in (CHILDREN, PIECES):
            some = here[inner_count[group, here] > 0]
            mean = inner_total[group, some] / inner_count[group, some]
            better, mean = some[mean > best[some]], mean[mean > best[some]]
            best[better], gives_way_to[better] = mean, group
            total[better], count[better] = inner_total[group, better], inner_count[group, better]
        add(CHILDREN, here[parents[here] >= 0])
    return _reached(parents, levels, gives_way_to) & (gives_way_to < 0) & (scores > 0)


def _reached(parents: Int64Array, levels: Int64Array, gives_way_to: Int64Array) -> BoolArray:
    """Return the objects to which every object round them gives way."""
    reached = parents < 0
    for level in (*range(2, levels.max(initial=PIECE) + 1), PIECE):
        here = np.flatnonzero(levels == level)
        group = PIECES if level == PIECE else CHILDREN
        reached[here] = reached[parents[here]] & (gives_way_to[parents[here]] == group)
    return reached


def at_half_density(tree: Tree, chosen: BoolArray, params: LevelParams, outline: OutlineParams) -> BoolArray:
    """Replace each chosen object by that of the same nucleus whose threshold is half way to its surroundings.

    The score alone makes small nuclei too large, because it prefers larger ones. The objects of one nucleus are a
    chain: inwards, while an object has only one in it; outwards, while no other chosen object lies in it. A piece of a
    split object stays as it is.

    Args:
        tree: objects and pieces.
        chosen: (N,) bool, objects that do not overlap.
        params: levels and the largest area.
        outline: what a nucleus is surrounded by, and how far its objects may differ.

    Returns:
        (N,) bool, as many objects, which do not overlap either.
    """
    area, solidity, density = tree.measures.area_px, tree.measures.solidity, tree.measures.density
    inner, outer = _chains(tree, chosen)
    start = np.flatnonzero(chosen & (tree.levels != PIECE))
    core = _follow(start, inner, lambda to: area[to] >= outline.core_share * area[start])
    half = (density[core] + outline.surroundings) / 2
    wanted = np.abs(np.log(np.array(params.levels)) - np.log(half)[:, None]).argmin(axis=1) + 1
    largest = _follow(
        start,
        outer,
        lambda to: (
            (tree.levels[to] >= wanted)
            & (area[to] <= params.max_area_px)
            & (solidity[to] >= solidity[start] - outline.max_solidity_loss)
        ),
    )
    replaced = chosen.copy()
    replaced[start] = False
    replaced[_follow(largest, inner, lambda to: tree.levels[to] <= wanted)] = True
    return replaced


def _chains(tree: Tree, chosen: BoolArray) -> tuple[Int64Array, Int64Array]:
    """Return the only object in each object, and the object round each that holds no other chosen one; −1 for none."""
    n_chosen = chosen.astype(np.int64)
    for level in (PIECE, *range(tree.levels.max(initial=PIECE), 1, -1)):
        here = np.flatnonzero(tree.levels == level)
        n_chosen += np.bincount(tree.parents[here], weights=n_chosen[here], minlength=len(chosen)).astype(np.int64)
    inside = np.flatnonzero((tree.levels != PIECE) & (tree.parents >= 0))
    inner = np.full(len(chosen), -1)
    inner[tree.parents[inside]] = inside
    inner[np.bincount(tree.parents[inside], minlength=len(chosen)) != 1] = -1
    return inner, np.where((tree.parents >= 0) & (n_chosen[tree.parents] == 1), tree.parents, -1)


def _follow(objects: Int64Array, chain: Int64Array, allowed: Callable[[Int64Array], BoolArray]) -> Int64Array:
    """Go along the chain from each object, as far as the next one is allowed."""
    while True:
        following = chain[objects]
        go = (following >= 0) & allowed(following)
        if not go.any():
            return objects
        objects = np.where(go, following, objects)
