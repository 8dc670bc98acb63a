"""Detection and segmentation of nuclei: every system is run and timed on each tile, and scored on the truth."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import fmean, median
from time import perf_counter

import numpy as np
from PIL import Image

from app.pipeline.types import Nuclei, UInt8Array
from training.cells.tile_files import read_tile, tile_paths
from training.errors import DataError
from training.metrics.nuclei import (
    aggregated_jaccard,
    count_overlap,
    dice,
    match_points,
    panoptic_quality,
    paper_scores,
    precision_recall_f1,
)
from training.study.systems.segmentation_systems import System

KAINZ_TEST_TILES = frozenset({"BM_GRAZ_HE_0007_01", "BM_GRAZ_HE_0008_01", "BM_GRAZ_HE_0020_01"})
DETECTION_RADIUS_PX = 10
COMPLETE_DOTS = "cells_mbm.csv"
"""The dots of Cohen et al. 2017 ("Count-ception") on the tiles of `bm_graz`, with the cells that Kainz's leave out."""
MASK_SETS = ("monuseg", "consep")

Scores = dict[str, float]
Track = Callable[[Iterable[Path]], Iterable[Path]]


def evaluate_detection(
    directory: Path, systems: Mapping[str, System], track: Track = iter
) -> dict[str, dict[str, Scores]]:
    """Measure detection on `bm_graz`: dots and nuclei are matched one to one within 10 px; the split is Kainz's.

    Kainz's dots leave cells out. Where the directory also holds the complete dots of Cohen et al. 2017, they are a
    second truth.

    Args:
        directory: directory that holds `tiles` and `cells.csv` (tile, x, y, code), and may hold `cells_mbm.csv` (tile,
            x, y).
        systems: systems to compare, by name.
        track: wraps the tiles, to show progress.

    Returns:
        For each system and split ("tune", "test"): precision, recall, f1, recall_code_1 (recall of the dots of code 1
        alone), found and truth (counts), and seconds, the median over the tiles. Where there are complete dots: also
        mbm_precision, mbm_recall, mbm_f1 and mbm_truth.

    Raises:
        DataError: there is no cells.csv or no tile, or a tile cannot be decoded.
    """
    truths = {"": read_dots(directory / "cells.csv")}
    if (directory / COMPLETE_DOTS).is_file():
        truths["mbm_"] = read_dots(directory / COMPLETE_DOTS)
    counts: dict[str, dict[str, list[Scores]]] = {name: defaultdict(list) for name in systems}
    for path in track(tile_paths(directory / "tiles")):
        pixels = read_tile(path)
        split = "test" if path.stem in KAINZ_TEST_TILES else "tune"
        for name, system in systems.items():
            nuclei, seconds = _timed(system, pixels)
            of_tile: Scores = {"found": len(nuclei), "seconds": seconds}
            for prefix, dots in truths.items():
                of_tile |= {prefix + key: n for key, n in _count_matches(nuclei, dots[path.stem]).items()}
            counts[name][split].append(of_tile)
    return {
        name: {split: _detection_scores(splits[split], truths) for split in ("tune", "test") if split in splits}
        for name, splits in counts.items()
    }


def evaluate_segmentation(
    directory: Path, systems: Mapping[str, System], track: Track = iter
) -> dict[str, dict[str, Scores]]:
    """Score the masks on those of MASK_SETS that the directory holds; no tile is rescaled.

    Args:
        directory: directory that holds `<set>/tiles`, and `<set>/labels` with a label image (PNG) for each tile.
        systems: systems to compare, by name.
        track: wraps the tiles, to show progress.

    Returns:
        For each set and system: iou and f1 (the paper's), dice, aji and pq, each the mean over the tiles; matched,
        found and truth, counts of nuclei; tiles, their number; and seconds, the median over the tiles.

    Raises:
        DataError: there is none of the sets, a set has no tile, or a tile has no label image or cannot be decoded.
    """
    tiles = {name: tile_paths(directory / name / "tiles") for name in MASK_SETS if (directory / name).is_dir()}
    if not tiles:
        raise DataError(f"{directory} holds none of the data sets: {', '.join(MASK_SETS)}.")
    scores: dict[str, dict[str, list[Scores]]] = {each: {name: [] for name in systems} for each in tiles}
    for path in track([path for paths in tiles.values() for path in paths]):
        pixels = read_tile(path)
        truth = _read_labels(path, pixels)
        for name, system in systems.items():
            nuclei, seconds = _timed(system, pixels)
            scores[path.parents[1].name][name].append({**_mask_scores(truth, nuclei), "seconds": seconds})
    return {each: {name: _over_tiles(tile) for name, tile in of_set.items()} for each, of_set in scores.items()}


def _timed(system: System, pixels: UInt8Array) -> tuple[Nuclei, float]:
    start = perf_counter()
    nuclei = system(pixels)
    return nuclei, perf_counter() - start


def _count_matches(nuclei: Nuclei, dots: np.ndarray) -> Scores:
    points, sure = dots[:, :2], dots[dots[:, 2] == 1, :2]
    return {
        "matched": match_points(nuclei.centroids, points, DETECTION_RADIUS_PX),
        "truth": len(points),
        "matched_code_1": match_points(nuclei.centroids, sure, DETECTION_RADIUS_PX),
        "truth_code_1": len(sure),
    }


def _detection_scores(tiles: list[Scores], truths: Iterable[str]) -> Scores:
    """Return the scores of a split, from what was counted on its tiles against each truth; a truth is a prefix."""
    total = {key: int(sum(tile[key] for tile in tiles)) for key in tiles[0] if key != "seconds"}
    scores: Scores = {}
    for prefix in truths:
        precision, recall, f1 = precision_recall_f1(total[f"{prefix}matched"], total["found"], total[f"{prefix}truth"])
        scores |= {f"{prefix}precision": precision, f"{prefix}recall": recall, f"{prefix}f1": f1}
        scores[f"{prefix}truth"] = total[f"{prefix}truth"]
    _, recall_code_1, _ = precision_recall_f1(total["matched_code_1"], total["found"], total["truth_code_1"])
    seconds = median(tile["seconds"] for tile in tiles)
    return {**scores, "recall_code_1": recall_code_1, "found": total["found"], "seconds": seconds}


def _mask_scores(truth: np.ndarray, nuclei: Nuclei) -> Scores:
    overlap = count_overlap(truth, nuclei.label_image)
    iou, f1 = paper_scores(overlap)
    return {
        "iou": iou,
        "f1": f1,
        "dice": dice(overlap),
        "aji": aggregated_jaccard(overlap),
        "pq": panoptic_quality(overlap),
        "matched": int(overlap.matched.sum()),
        "found": len(overlap.found_px),
        "truth": len(overlap.truth_px),
    }


def _over_tiles(tiles: list[Scores]) -> Scores:
    return {
        **{key: fmean(tile[key] for tile in tiles) for key in ("iou", "f1", "dice", "aji", "pq")},
        **{key: int(sum(tile[key] for tile in tiles)) for key in ("matched", "found", "truth")},
        "tiles": len(tiles),
        "seconds": median(tile["seconds"] for tile in tiles),
    }


def read_dots(path: Path) -> dict[str, np.ndarray]:
    """Read the rows (x, y, code) of each tile, (M, 3) float64; a tile that is not named has none.

    A dot without a code has code 1, the code of nuclei that are clear.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist.")
    dots: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            dots[row["tile"]].append((float(row["x"]), float(row["y"]), float(row.get("code", 1))))
    return defaultdict(lambda: np.zeros((0, 3)), {tile: np.array(points) for tile, points in dots.items()})


def _read_labels(tile: Path, pixels: UInt8Array) -> np.ndarray:
    """Read the label image of a tile's true nuclei, (H, W) integers of up to 16 bits."""
    path = tile.parents[1] / "labels" / f"{tile.stem}.png"
    if not path.is_file():
        raise DataError(f"{path} does not exist: the tile {tile.name} has no labels.")
    with Image.open(path) as image:
        labels = np.asarray(image)
    if labels.shape != pixels.shape[:2]:
        raise DataError(f"{path} must have the shape of its tile, {pixels.shape[:2]}, found {labels.shape}.")
    return labels
