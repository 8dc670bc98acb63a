"""Protocols: what is measured on which data, against which competitors."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from app.pipeline.decode import decode
from app.pipeline.presets import PAPER, SegmentationParams
from app.pipeline.segment import segment, unmix
from training.data import MAX_TRAINING_PIXELS, DataError, tile_paths
from training.metrics import match_points, precision_recall_f1

KAINZ_TEST_TILES = frozenset({"BM_GRAZ_HE_0007_01", "BM_GRAZ_HE_0008_01", "BM_GRAZ_HE_0020_01"})
DETECTION_RADIUS_PX = 10
SEGMENTATIONS: dict[str, SegmentationParams] = {
    "paper": PAPER,
    "paper, stains by HistomicsTK": PAPER.model_copy(update={"engine": "histomicstk"}),
}


def evaluate_detection(
    directory: Path, track: Callable[[Iterable[Path]], Iterable[Path]] = iter
) -> dict[str, dict[str, dict[str, float]]]:
    """Precision, recall and F1 of detection on `bm_graz`: one-to-one within 10 px, all dots, Kainz's split.

    Args:
        directory: holds `tiles` and `cells.csv` (tile, x, y, code).
        track: wraps the tiles, to show progress.

    Returns:
        By segmentation, then by split ("tune", "test"): precision, recall, f1, found, truth.

    Raises:
        DataError: there is no cells.csv or no tile.
    """
    dots = _read_dots(directory / "cells.csv")
    counts: dict[tuple[str, str], np.ndarray] = defaultdict(lambda: np.zeros(3, int))
    for path in track(tile_paths(directory / "tiles")):
        tile = decode(path.read_bytes(), max_pixels=MAX_TRAINING_PIXELS)
        split = "test" if path.stem in KAINZ_TEST_TILES else "tune"
        for name, params in SEGMENTATIONS.items():
            nuclei = segment(unmix(tile.pixels, params.stain, params.engine), params)
            truth = dots[path.stem]
            matched = match_points(nuclei.centroids, truth, DETECTION_RADIUS_PX)
            counts[name, split] += (matched, len(nuclei), len(truth))
    return {
        name: {split: _scores(*counts[name, split]) for split in ("tune", "test") if (name, split) in counts}
        for name in SEGMENTATIONS
    }


def _read_dots(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise DataError(f"{path} does not exist.")
    dots: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            dots[row["tile"]].append((float(row["x"]), float(row["y"])))
    return defaultdict(lambda: np.zeros((0, 2)), {tile: np.array(points) for tile, points in dots.items()})


def _scores(matched: int, found: int, truth: int) -> dict[str, Any]:
    precision, recall, f1 = precision_recall_f1(int(matched), int(found), int(truth))
    return {"precision": precision, "recall": recall, "f1": f1, "found": int(found), "truth": int(truth)}
