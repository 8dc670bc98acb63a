"""Rates of the quality flags: how often the right one is raised, and how often one is raised without a reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from app.pipeline.manifest import QualityReference
from app.pipeline.presets import SegmentationParams
from app.pipeline.quality.assess import HARMLESS, MESSAGES, judge
from app.pipeline.quality.measure import QualityMeasures, measure_quality
from app.pipeline.quality.reference import fit_reference, measure_views, random_square, stack_views
from app.pipeline.stain.unmix import unmix
from app.pipeline.types import Float64Array, UInt8Array
from training.cells.tile_files import read_tile, tile_paths
from training.study.protocols.degrade import CONDITIONS, PICTURES
from training.study.protocols.segmentation import KAINZ_TEST_TILES, Track

CLEAN_CROPS = 500
DEGRADED_CROPS_PER_TILE = 2
SEED = 1
CODES = tuple(code for code in MESSAGES if code not in HARMLESS)
SPLITS = {"test": "tune", "tune": "tune", "all": "all"}
"""The tiles on which the reference is fitted, by the tiles that are judged."""


@dataclass(frozen=True)
class Judged:
    """A view that the limits judge: a tile, a crop or a picture, degraded or not.

    Attributes:
        kind: "tile", "crop" or "picture".
        condition: name of its degradation.
        right: flags of which one is right; if empty, no flag is right.
        measures: quality measures of its pixels.
        stained: whether two stains were found in it.
    """

    kind: str
    condition: str
    right: frozenset[str]
    measures: QualityMeasures
    stained: bool

    def flags(self, reference: QualityReference) -> frozenset[str]:
        """Return the codes of its flags, except those of the file."""
        quality = judge(self.measures, reference, stained=self.stained, mpp_known=True)
        return frozenset(flag.code for flag in quality.flags)


@dataclass(frozen=True)
class Evidence:
    """The views of one tile, and what a reference is fitted on.

    Attributes:
        rows: rows of `Views`, to fit a reference on.
        stain_matrix: (3, 2) float64, stains after normalisation; NaN if none were found.
        clean: its random crops without degradation.
        degraded: the tile and some of the crops with every degradation.
    """

    rows: list[dict[str, Any]]
    stain_matrix: Float64Array
    clean: list[Judged]
    degraded: list[Judged]


def evaluate_quality(directory: Path, params: SegmentationParams, track: Track = iter) -> dict[str, Any]:
    """Measure the rates of the flags on the tiles of `bm_graz`, degraded or not, and on pictures that are no tiles.

    Args:
        directory: directory that holds `tiles`.
        params: segmentation parameters.
        track: wraps the tiles, to show progress.

    Returns:
        `references`: the reference, by the tiles that it was fitted on ("tune", "all"). `conditions`: for each split
        and condition, the `wanted` codes and, for each kind of view ("tile", "crop", "picture"), the number of `views`,
        `right` (the share of views with a wanted flag or, if none is wanted, without any flag), and `flags` (the share
        of views with each code). `false_alarms`: for each split, the number of `crops` without degradation, and the
        shares of them with `any` flag and with each of `flags`.

    Raises:
        DataError: there is no tile, or one cannot be decoded.
    """
    paths = tile_paths(directory / "tiles")
    members = _members(paths)
    tiles = [_evidence(i, path, len(paths), params) for i, path in enumerate(track(paths))]
    pictures = list(_pictures(params))
    references = {
        fitted: _reference([tiles[i] for i in members[fitted]]) for fitted in set(SPLITS.values()) if members[fitted]
    }
    conditions, alarms = {}, {}
    for split, fitted in SPLITS.items():
        if members[split] and fitted in references:
            own = [tiles[i] for i in members[split]]
            degraded = [view for tile in own for view in tile.degraded]
            conditions[split] = _condition_rates(degraded + pictures, references[fitted])
            alarms[split] = _alarm_rates([view for tile in own for view in tile.clean], references[fitted])
    return {
        "references": {name: reference.model_dump() for name, reference in references.items()},
        "conditions": conditions,
        "false_alarms": alarms,
    }


def _evidence(index: int, path: Path, n_tiles: int, params: SegmentationParams) -> Evidence:
    pixels = read_tile(path)
    stains = unmix(pixels, params.stain, params.engine)
    crops = _random_crops(pixels, index, n_tiles)
    return Evidence(
        rows=measure_views(index, pixels, stains, params.stain),
        stain_matrix=np.full((3, 2), np.nan) if stains.stain_matrix is None else stains.stain_matrix,
        clean=[_judged("crop", "as it is", frozenset(), crop, params) for crop in crops],
        degraded=list(_degraded(pixels, crops[:DEGRADED_CROPS_PER_TILE], params)),
    )


def _reference(tiles: list[Evidence]) -> QualityReference:
    rows = [row for tile in tiles for row in tile.rows]
    return fit_reference(stack_views(rows), np.array([tile.stain_matrix for tile in tiles]))


def _members(paths: list[Path]) -> dict[str, list[int]]:
    """Return the indices of the tiles of each split."""
    test = [i for i, path in enumerate(paths) if path.stem in KAINZ_TEST_TILES]
    return {"test": test, "tune": [i for i in range(len(paths)) if i not in test], "all": list(range(len(paths)))}


def _random_crops(pixels: UInt8Array, index: int, n_tiles: int) -> list[UInt8Array]:
    """Draw the tile's part of CLEAN_CROPS with a seed of their own: a reference is fitted on other crops."""
    random = np.random.default_rng((SEED, index))
    height, width = pixels.shape[:2]
    squares = [random_square((height, width), random) for _ in range(index, CLEAN_CROPS, n_tiles)]
    return [np.ascontiguousarray(pixels[square]) for square in squares]


def _degraded(tile: UInt8Array, crops: list[UInt8Array], params: SegmentationParams) -> Iterator[Judged]:
    for name, condition in CONDITIONS.items():
        for kind, pixels in [("tile", tile), *(("crop", crop) for crop in crops)]:
            yield _judged(kind, name, condition.right, condition.change(pixels), params)


def _pictures(params: SegmentationParams) -> Iterator[Judged]:
    for name, (make, right) in PICTURES.items():
        for pixels in make():
            yield _judged("picture", name, right, pixels, params)


def _judged(kind: str, condition: str, right: frozenset[str], pixels: UInt8Array, params: SegmentationParams) -> Judged:
    stains = unmix(pixels, params.stain, params.engine)
    return Judged(
        kind=kind,
        condition=condition,
        right=right,
        measures=measure_quality(pixels, pixels, stains, params.stain),
        stained=stains.estimate is not None,
    )


def _condition_rates(views: list[Judged], reference: QualityReference) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(view.condition for view in views):
        of_condition = [view for view in views if view.condition == name]
        found[name] = {"wanted": sorted(of_condition[0].right)}
        for kind in dict.fromkeys(view.kind for view in of_condition):
            own = [(view.right, view.flags(reference)) for view in of_condition if view.kind == kind]
            found[name][kind] = {
                "views": len(own),
                "right": fmean(bool(right & flags) if right else not flags for right, flags in own),
                "flags": _rates([flags for _, flags in own]),
            }
    return found


def _alarm_rates(views: list[Judged], reference: QualityReference) -> dict[str, Any]:
    flags = [view.flags(reference) for view in views]
    return {"crops": len(flags), "any": fmean(bool(codes) for codes in flags), "flags": _rates(flags)}


def _rates(flags: list[frozenset[str]]) -> dict[str, float]:
    return {code: fmean(code in codes for codes in flags) for code in CODES}
