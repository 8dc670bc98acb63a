"""Is it marrow? Which tiles of other organs get a label, and which tiles of marrow are called unlike the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from app.pipeline.bundle.load import Bundle
from app.pipeline.crops import seen, to_network
from app.pipeline.manifest import Outliers
from app.pipeline.measure.cells import distance
from app.pipeline.networks.architecture import pooled
from app.pipeline.networks.pytorch import TorchBackend
from app.pipeline.proportions import summarise
from app.pipeline.quality.assess import HARMLESS, cell_flags
from app.pipeline.quality.reference import ORDINARY_JPEG, jpeg
from app.pipeline.reference_ranges import ReferenceRanges
from app.pipeline.run import analyse
from app.pipeline.types import Float32Array, Float64Array
from training.bundle.outliers import fit_outliers
from training.cells.extract import Cells
from training.cells.tile_files import MAX_TILE_PIXELS, png_bytes, read_tile, tile_paths
from training.gan.checks import in_chunks
from training.label.reference_ranges import fit_ranges
from training.study.protocols.adaptation import MPP
from training.study.protocols.outliers import OTHER_ORGANS
from training.study.protocols.segmentation import Track

CROP_EDGE_PX = 600
"""Edge of the crops of marrow tiles, px."""
CROPS_PER_TILE = 24
SEED = 0
OF_CELLS = frozenset({"many_outliers", "unlike_training_tiles"})
"""The flags that say that the cells of a tile are unlike those of marrow."""


def evaluate_novelty(data: Path, bundle: Bundle, cells: Cells, track: Track = iter) -> dict[str, Any]:
    """Analyse every tile of other organs, and hold every tile of marrow against limits taken without it.

    Args:
        data: directory of the sets of other organs.
        bundle: the bundle.
        cells: those that it was trained on.
        track: wraps the tiles of each set, to show progress.

    Returns:
        other: for each set of other organs, mpp, the number of tiles, how many get a label, how many have flags that
        prevent one without those of the stain and the scale (by_cells), and how many have each flag. marrow: for whole
        tiles, for these as JPEG, and for crops of them, how many there are, and how many have a flag of their cells.
    """
    other = {
        name: _labelled(track(tile_paths(data / name / "tiles")), bundle, MPP[name])
        for name in OTHER_ORGANS
        if (data / name / "tiles").is_dir()
    }
    return {"other": other, "marrow": left_out(bundle, cells, data / "bm_graz" / "tiles")}


def _labelled(paths: Any, bundle: Bundle, mpp: float) -> dict[str, Any]:
    flags: Counter[str] = Counter()
    tiles = labelled = by_cells = 0
    for path in paths:
        analysis = analyse(path.read_bytes(), bundle, max_pixels=MAX_TILE_PIXELS, mpp=mpp)
        codes = {flag.code for flag in analysis.quality.flags}
        tiles += 1
        labelled += analysis.label.value != "indeterminate"
        by_cells += bool(codes & OF_CELLS)
        flags.update(codes - HARMLESS)
    return {
        "mpp": mpp,
        "tiles": tiles,
        "labelled": labelled,
        "by_cells": by_cells,
        "flags": dict(sorted(flags.items())),
    }


def left_out(bundle: Bundle, cells: Cells, directory: Path) -> dict[str, dict[str, int]]:
    """Count the tiles of marrow, and crops of them, whose cells are called unlike by a fit that leaves the tile out.

    Args:
        bundle: the bundle.
        cells: those that it was trained on.
        directory: that of their tiles, which are measured once more as JPEG.

    Returns:
        whole, jpeg and crops, each with n and refused.
    """
    manifest = bundle.manifest
    crops, compressed = (seen(form, manifest.architecture.crops) for form in (cells.crops, cells.compressed))
    q = TorchBackend(bundle.directory, manifest).q.cpu()
    logits = in_chunks(lambda x: q.code_logits(pooled(q.trunk.maps(x))), torch.from_numpy(to_network(crops)))
    clusters = logits.argmax(1).numpy()
    paths = {path.stem: path for path in tile_paths(directory)}
    counts = {name: {"n": 0, "refused": 0} for name in ("whole", "jpeg", "crops")}
    for tile in np.unique(cells.tile_index):
        own = cells.tile_index == tile
        fitted = fit_outliers(q, crops[~own], cells.tile_index[~own], compressed[~own])
        kept = ~own
        kept[~own] = ~fitted.outlier
        ranges = fit_ranges(cells.only(kept), clusters[kept], manifest.n_clusters)
        surprise = [
            in_chunks(fitted.surprise, torch.from_numpy(to_network(form[own]))).numpy() for form in (crops, compressed)
        ]
        measured = cells.measurements[own]
        saved = png_bytes(jpeg(read_tile(paths[cells.tiles[tile]]), ORDINARY_JPEG))
        as_jpeg = analyse(saved, bundle, max_pixels=MAX_TILE_PIXELS, mpp=cells.mpp)
        of_jpeg = distance(as_jpeg.measurements.values[~as_jpeg.proportions.outlier].T, ranges)
        pieces = [("whole", surprise[0], _distance(measured, surprise[0], fitted.limits, ranges))]
        pieces.append(("jpeg", surprise[1], of_jpeg))
        for inside in _windows(cells.centroids[own], int(tile)):
            of_crop = surprise[0][inside]
            pieces.append(("crops", of_crop, _distance(measured[inside], of_crop, fitted.limits, ranges)))
        for name, of_piece, afar in pieces:
            counts[name]["n"] += 1
            counts[name]["refused"] += is_unlike(of_piece, fitted.limits, afar)
    return counts


def _distance(
    measured: Float64Array, surprise: Float32Array, limits: Outliers, ranges: ReferenceRanges | None
) -> float | None:
    return distance(measured[surprise <= limits.threshold].T, ranges)


def is_unlike(surprise: Float32Array, limits: Outliers, afar: float | None = None) -> bool:
    """Return whether a tile gets a flag of its cells that prevents a label: each has a surprise, and all a distance."""
    outlier = surprise > limits.threshold
    proportions = summarise(np.full((len(surprise), 2), 0.5, np.float32), outlier)
    return any(flag.code in OF_CELLS for flag in cell_flags(proportions, surprise, limits, afar))


def _windows(centroids: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Yield which of (N, 2) centroids lie in each of some random squares of a tile, (N,) bool, if any does."""
    random = np.random.default_rng((SEED, seed))
    span = np.maximum(centroids.max(axis=0) - CROP_EDGE_PX, 0)
    for _ in range(CROPS_PER_TILE):
        corner = random.uniform(0, span)
        inside = ((centroids >= corner) & (centroids < corner + CROP_EDGE_PX)).all(axis=1)
        if inside.any():
            yield inside
