"""Detection and segmentation of nuclei: every system is run and timed on each tile, and scored on the truth."""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import fmean, median
from time import perf_counter
from typing import Any

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
from training.study.systems.segmentation_systems import LearnedSystem, System

KAINZ_TEST_TILES = frozenset({"BM_GRAZ_HE_0007_01", "BM_GRAZ_HE_0008_01", "BM_GRAZ_HE_0020_01"})
DETECTION_RADIUS_PX = 10
COMPLETE_DOTS = "cells_mbm.csv"
"""The dots of Cohen et al. 2017 ("Count-ception") on the tiles of `bm_graz`, with the cells that Kainz's leave out."""
MASK_SETS = ("monuseg", "consep")
HELD_OUT = "learned, held out"
"""Name of preset `learned` with a network that has not seen any tile of the set."""

Scores = dict[str, Any]
Track = Callable[[Iterable[Path]], Iterable[Path]]


def evaluate_detection(
    directory: Path, systems: Mapping[str, System], track: Track = iter
) -> dict[str, dict[str, Scores]]:
    """Measure detection on `bm_graz`: dots and nuclei are matched one to one within 10 px; the split is Kainz's.

    The truth is the complete dots. Kainz's own dots leave a quarter of the cells out, so that a nucleus beside them may
    be no error; they count for recall alone.

    Args:
        directory: directory that holds `tiles`, `cells_mbm.csv` (tile, x, y) and `cells.csv` (tile, x, y, code).
        systems: systems to compare, by name.
        track: wraps the tiles, to show progress.

    Returns:
        For each system and split ("tune", "test"): precision, recall, f1, found and truth (counts), all against the
        complete dots; kainz_recall and kainz_recall_code_1, the recall of Kainz's dots and of those of code 1; seconds,
        the median over the tiles; and what `_seen` says of the split's tiles.

    Raises:
        DataError: there is no cells_mbm.csv, no cells.csv or no tile, or a tile cannot be decoded.
    """
    complete, kainz = (read_dots(directory / name) for name in (COMPLETE_DOTS, "cells.csv"))
    counts: dict[str, dict[str, list[Scores]]] = {name: defaultdict(list) for name in systems}
    splits: dict[str, list[Path]] = defaultdict(list)
    for path in track(tile_paths(directory / "tiles")):
        pixels = read_tile(path)
        split = "test" if path.stem in KAINZ_TEST_TILES else "tune"
        splits[split].append(path)
        for name, system in systems.items():
            nuclei, seconds = _timed(system, pixels)
            matched = _count_matches(nuclei, complete[path.stem], kainz[path.stem])
            counts[name][split].append({**matched, "found": len(nuclei), "seconds": seconds})
    digests = {split: _digests(splits[split]) for split in ("tune", "test") if split in splits}
    return {
        name: {
            split: _detection_scores(counts[name][split]) | _seen(system, of_split)
            for split, of_split in digests.items()
        }
        for name, system in systems.items()
    }


def evaluate_segmentation(
    directory: Path,
    systems: Mapping[str, System],
    held_out: Mapping[str, LearnedSystem] | None = None,
    track: Track = iter,
) -> dict[str, dict[str, Scores]]:
    """Score the masks on those of MASK_SETS that the directory holds; no tile is rescaled.

    Args:
        directory: directory that holds `<set>/tiles`, and `<set>/labels` with a label image (PNG) for each tile.
        systems: systems to compare, by name.
        held_out: for a set, preset `learned` with a network that has not seen any of its tiles; its name is HELD_OUT.
        track: wraps the tiles, to show progress.

    Returns:
        For each set and system: iou and f1 (the paper's), dice, aji and pq, each the mean over the tiles; matched,
        found and truth, counts of nuclei; tiles, their number; seconds, the median over the tiles; and what `_seen`
        says of the set's tiles.

    Raises:
        DataError: there is none of the sets, or not the one that a network is for; a network has seen a tile of its
            set, or does not record what it has seen; a set has no tile, or a tile has no label image or cannot be
            decoded.
    """
    held_out = held_out or {}
    tiles = {name: tile_paths(directory / name / "tiles") for name in MASK_SETS if (directory / name).is_dir()}
    if not tiles:
        raise DataError(f"{directory} holds none of the data sets: {', '.join(MASK_SETS)}.")
    digests = {name: _digests(paths) for name, paths in tiles.items()}
    for name, network in held_out.items():
        if name not in tiles:
            raise DataError(f"A network is held out of {name}, which is none of the sets here: {', '.join(tiles)}.")
        _refuse_seen(network, name, digests[name])
    of_set: dict[str, dict[str, System]] = {
        name: {**systems, **({HELD_OUT: held_out[name]} if name in held_out else {})} for name in tiles
    }
    scores: dict[str, dict[str, list[Scores]]] = {each: {name: [] for name in of_set[each]} for each in tiles}
    for path in track([path for paths in tiles.values() for path in paths]):
        pixels = read_tile(path)
        truth = read_labels(path, pixels)
        set_name = path.parents[1].name
        for name, system in of_set[set_name].items():
            nuclei, seconds = _timed(system, pixels)
            scores[set_name][name].append({**_mask_scores(truth, nuclei), "seconds": seconds})
    return {
        each: {
            name: _over_tiles(scores[each][name]) | _seen(system, digests[each])
            for name, system in of_set[each].items()
        }
        for each in tiles
    }


def _digests(paths: Iterable[Path]) -> dict[str, str]:
    """Return the names of files by the SHA-256 of their bytes."""
    return {hashlib.sha256(path.read_bytes()).hexdigest(): path.name for path in paths}


def _refuse_seen(system: LearnedSystem, set_name: str, digests: Mapping[str, str]) -> None:
    """Refuse a network that is said not to have seen a set, and has seen a tile of it.

    Raises:
        DataError: it has, or it does not record what it has seen.
    """
    if system.seen is None:
        raise DataError(
            f"{system.run} does not record which tiles its network has seen, so it cannot be shown that these are none "
            f"of {set_name}; give the directory of a run of `python -m training segmenter`."
        )
    for what, group in (("has learned from", system.seen.learned_from), ("was checked on", system.seen.checked_on)):
        if found := digests.keys() & group:
            raise DataError(
                f"The network of {system.run} is not held out of {set_name}: it {what} {len(found)} of its "
                f"{len(digests)} tiles, {min(digests[digest] for digest in found)} among them."
            )


def _seen(system: System, digests: Mapping[str, str]) -> Scores:
    """Return how many of the given tiles a network has seen; nothing for a system without one.

    Args:
        system: any system.
        digests: the names of the tiles that it is scored on, by the SHA-256 of their files.

    Returns:
        learned_from and checked_on, of the given tiles, and other_tiles, those that it has seen elsewhere; each is None
        where the run does not record what it has seen.
    """
    if not isinstance(system, LearnedSystem):
        return {}
    if (seen := system.seen) is None:
        return {"learned_from": None, "checked_on": None, "other_tiles": None}
    return {
        "learned_from": len(seen.learned_from & digests.keys()),
        "checked_on": len(seen.checked_on & digests.keys()),
        "other_tiles": len((seen.learned_from | seen.checked_on) - digests.keys()),
    }


def _timed(system: System, pixels: UInt8Array) -> tuple[Nuclei, float]:
    start = perf_counter()
    nuclei = system(pixels)
    return nuclei, perf_counter() - start


def _count_matches(nuclei: Nuclei, complete: np.ndarray, kainz: np.ndarray) -> Scores:
    """Count the dots of each kind, and those that a nucleus matches; a dot is a row x, y, code."""
    dots = {"": complete, "kainz_": kainz, "kainz_code_1_": kainz[kainz[:, 2] == 1]}
    counts: Scores = {}
    for kind, rows in dots.items():
        counts[f"{kind}truth"] = len(rows)
        counts[f"{kind}matched"] = match_points(nuclei.centroids, rows[:, :2], DETECTION_RADIUS_PX)
    return counts


def _detection_scores(tiles: list[Scores]) -> Scores:
    """Return the scores of a split, from what was counted on its tiles."""
    total = {key: int(sum(tile[key] for tile in tiles)) for key in tiles[0] if key != "seconds"}
    precision, recall, f1 = precision_recall_f1(total["matched"], total["found"], total["truth"])
    return {
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "found": total["found"],
        "truth": total["truth"],
        "kainz_recall": _share(total["kainz_matched"], total["kainz_truth"]),
        "kainz_recall_code_1": _share(total["kainz_code_1_matched"], total["kainz_code_1_truth"]),
        "tiles": len(tiles),
        "seconds": median(tile["seconds"] for tile in tiles),
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


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


def read_labels(tile: Path, pixels: UInt8Array) -> np.ndarray:
    """Read the label image of a tile's true nuclei, (H, W) integers of up to 16 bits."""
    path = tile.parents[1] / "labels" / f"{tile.stem}.png"
    if not path.is_file():
        raise DataError(f"{path} does not exist: the tile {tile.name} has no labels.")
    with Image.open(path) as image:
        labels = np.asarray(image)
    if labels.shape != pixels.shape[:2]:
        raise DataError(f"{path} must have the shape of its tile, {pixels.shape[:2]}, found {labels.shape}.")
    return labels
