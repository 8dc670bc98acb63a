"""Drawn nuclei of every size: how many are found, and how large, on tiles whose outlines are known to the pixel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from statistics import median
from typing import Any

import numpy as np

from training.metrics.nuclei import count_overlap, matched_segments
from training.study.protocols.drawn_nuclei import DrawnNucleus, DrawnTile, draw_tile
from training.study.systems.segmentation_systems import System

Track = Callable[[Iterable[int]], Iterable[int]]
Ratios = dict[DrawnNucleus, list[float]]


def evaluate_sizes(
    systems: Mapping[str, System],
    n_tiles: int,
    track: Track = iter,
    draw: Callable[[int], DrawnTile] = draw_tile,
) -> dict[str, Any]:
    """Draw tiles, and count the nuclei that are found: those of which a segment has an IoU above 0.5.

    Args:
        systems: systems to compare, by name.
        n_tiles: number of tiles; their seeds are 0, 1, ….
        track: wraps the seeds, to show progress.
        draw: draws the tile of a seed.

    Returns:
        For each system: tiles; beside, the number of segments that are no drawn nucleus; and rows, one for each
        situation, diameter_px and darkness, with drawn and found (counts), and area_ratio, the median of the area found
        over the area drawn, over the nuclei that were found; None where none was.
    """
    drawn: dict[DrawnNucleus, int] = defaultdict(int)
    ratios: dict[str, Ratios] = {name: defaultdict(list) for name in systems}
    beside = dict.fromkeys(systems, 0)
    for seed in track(range(n_tiles)):
        tile = draw(seed)
        for nucleus in tile.nuclei:
            drawn[nucleus] += 1
        for name, system in systems.items():
            beside[name] += _measure(tile, system(tile.pixels).label_image, ratios[name])
    return {
        name: {
            "tiles": n_tiles,
            "beside": beside[name],
            "rows": [_row(kind, n, of_system[kind]) for kind, n in sorted(drawn.items(), key=_order)],
        }
        for name, of_system in ratios.items()
    }


def _measure(tile: DrawnTile, found: np.ndarray, ratios: Ratios) -> int:
    """Add the ratio of areas of each nucleus that is found; return the number of segments that match none."""
    overlap = count_overlap(tile.label_image, found)
    segments = matched_segments(overlap)
    for nucleus, area, segment in zip(tile.nuclei, overlap.truth_px.tolist(), segments.tolist(), strict=True):
        if segment >= 0:
            ratios[nucleus].append(int(overlap.found_px[segment]) / area)
    return len(overlap.found_px) - int((segments >= 0).sum())


def _order(drawn: tuple[DrawnNucleus, int]) -> tuple[str, int]:
    """Sort by situation and size; of each size, the order of the first occurrence stays."""
    return drawn[0].situation, drawn[0].diameter_px


def _row(kind: DrawnNucleus, drawn: int, ratios: list[float]) -> dict[str, Any]:
    return {
        "situation": kind.situation,
        "diameter_px": kind.diameter_px,
        "darkness": kind.darkness,
        "drawn": drawn,
        "found": len(ratios),
        "area_ratio": median(ratios) if ratios else None,
    }
