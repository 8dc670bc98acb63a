"""Which nuclei are missed: recall by the size and by the darkness of the true nuclei."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from app.pipeline.nuclei.network import in_reading_order
from app.pipeline.presets import DEFAULT
from app.pipeline.stain.optical_density import density_image
from app.pipeline.stain.unmix import unmix
from app.pipeline.types import BoolArray, Float32Array, Nuclei, UInt8Array
from training.cells.tile_files import read_tile, tile_paths
from training.errors import DataError
from training.metrics.nuclei import count_overlap, matched_pairs, matched_segments
from training.study.protocols.segmentation import (
    COMPLETE_DOTS,
    DETECTION_RADIUS_PX,
    KAINZ_TEST_TILES,
    MASK_SETS,
    Track,
    read_dots,
    read_labels,
)
from training.study.systems.segmentation_systems import System

DOT_SET = "bm_graz"
MPP = 0.25
"""µm per pixel of all sets."""
SIZES_UM = (0, 3, 4, 5, 6, 7, 8, 10, 12, np.inf)
"""Bounds of the bins of equivalent diameter."""
N_DARKNESS = 5
DOT_RADIUS_PX = 6
"""The density of a nucleus that has only a dot is that of a disc of 3 µm round it."""
SMOOTHING_PX = 1.0
SIZE, DARKNESS = "diameter_um", "darkness"
Columns = dict[str, np.ndarray]
"""A value for each true nucleus: SIZE where it has a mask, DARKNESS, and "found" and "touched" of each system."""


def evaluate_missed(directory: Path, systems: Mapping[str, System], track: Track = iter) -> dict[str, Any]:
    """Count which nuclei are found, by size and by darkness.

    A nucleus with a mask is found if a segment has an IoU above 0.5 with it, and touched if its centroid lies in a
    segment; nuclei that the tile's border cuts do not count. A nucleus with a dot is found if it is matched within
    10 px, and touched if the dot lies in a segment. Darkness is the mean density of haematoxylin of the nucleus over
    that of the tile's tissue; its bins have equally many nuclei.

    Args:
        directory: directory that holds some of `monuseg`, `consep` (tiles/, labels/) and `bm_graz` (tiles/,
            cells_mbm.csv).
        systems: systems to compare, by name.
        track: wraps the tiles, to show progress.

    Returns:
        For each set, and for each split of `bm_graz`: a list of bins with by (SIZE or DARKNESS), low and high (None if
        there is no upper bound), truth (count), and found and touched, counts by system.

    Raises:
        DataError: there is none of the sets, a file of a set is missing, or a tile cannot be decoded.
    """
    names = [name for name in (*MASK_SETS, DOT_SET) if (directory / name).is_dir()]
    if not names:
        raise DataError(f"{directory} holds none of the data sets: {', '.join((*MASK_SETS, DOT_SET))}.")
    dots = read_dots(directory / DOT_SET / COMPLETE_DOTS) if DOT_SET in names else {}
    tiles: dict[str, list[Columns]] = defaultdict(list)
    for path in track([path for name in names for path in tile_paths(directory / name / "tiles")]):
        pixels = read_tile(path)
        found = {name: system(pixels) for name, system in systems.items()}
        set_name = path.parents[1].name
        if set_name in MASK_SETS:
            tiles[set_name].append(_of_masks(read_labels(path, pixels), relative_density(pixels), found))
        else:
            split = f"{DOT_SET}, {'test' if path.stem in KAINZ_TEST_TILES else 'tune'}"
            tiles[split].append(_of_dots(dots[path.stem][:, :2], relative_density(pixels), found))
    return {name: _bins(of_set, list(systems)) for name, of_set in tiles.items()}


def relative_density(pixels: UInt8Array) -> Float32Array:
    """Return the density of haematoxylin over its mean in the tile's tissue, (H, W) float32."""
    stain = unmix(pixels, DEFAULT.stain)
    density = density_image(stain.haematoxylin, SMOOTHING_PX)
    mean = float(density[stain.tissue].mean()) if stain.tissue.any() else 0.0
    return density / np.float32(mean) if mean else density


def _of_masks(labels: np.ndarray, density: Float32Array, found: Mapping[str, Nuclei]) -> Columns:
    truth = in_reading_order(labels.astype(np.int32))
    numbers = np.arange(1, truth.max(initial=0) + 1)
    border = np.concatenate([truth[0], truth[-1], truth[:, 0], truth[:, -1]])
    whole = ~np.isin(numbers, border)
    centres = np.array(ndimage.center_of_mass(truth > 0, truth, numbers)).reshape(-1, 2)[:, ::-1]
    columns: Columns = {
        SIZE: 2 * np.sqrt(np.bincount(truth.ravel())[1:] / np.pi) * MPP,
        DARKNESS: ndimage.mean(density, truth, numbers),
    }
    for name, nuclei in found.items():
        segments = matched_segments(count_overlap(truth, nuclei.label_image))
        columns |= {f"found {name}": segments >= 0, f"touched {name}": _lie_in(nuclei, centres)}
    return {name: np.asarray(values)[whole] for name, values in columns.items()}


def _of_dots(dots: np.ndarray, density: Float32Array, found: Mapping[str, Nuclei]) -> Columns:
    columns: Columns = {DARKNESS: density_round(dots, density)}
    for name, nuclei in found.items():
        is_found = np.zeros(len(dots), bool)
        is_found[matched_pairs(nuclei.centroids, dots, DETECTION_RADIUS_PX)[1]] = True
        columns |= {f"found {name}": is_found, f"touched {name}": _lie_in(nuclei, dots)}
    return columns


def density_round(dots: np.ndarray, density: Float32Array) -> np.ndarray:
    """Return the mean density in a disc round each dot; the disc ends at the tile's border.

    Args:
        dots: (M, 2) float, x and y.
        density: (H, W) float32.

    Returns:
        (M,) float64.
    """
    y, x = np.indices(density.shape)[:, : 2 * DOT_RADIUS_PX + 1, : 2 * DOT_RADIUS_PX + 1] - DOT_RADIUS_PX
    dy, dx = (axis[np.hypot(y, x) <= DOT_RADIUS_PX] for axis in (y, x))
    rows, columns = dots[:, 1, None].round().astype(int) + dy, dots[:, 0, None].round().astype(int) + dx
    inside = (rows >= 0) & (rows < density.shape[0]) & (columns >= 0) & (columns < density.shape[1])
    values = np.where(inside, density[rows.clip(0, density.shape[0] - 1), columns.clip(0, density.shape[1] - 1)], 0)
    return np.asarray(values.sum(axis=1) / inside.sum(axis=1))


def _lie_in(nuclei: Nuclei, points: np.ndarray) -> BoolArray:
    """Return which points, (M, 2) of x and y, lie in a nucleus."""
    height, width = nuclei.label_image.shape
    x, y = points.round().astype(int).T if len(points) else np.zeros((2, 0), int)
    return np.asarray(nuclei.label_image[y.clip(0, height - 1), x.clip(0, width - 1)] > 0)


def _bins(tiles: list[Columns], systems: list[str]) -> list[dict[str, Any]]:
    nuclei = {name: np.concatenate([columns[name] for columns in tiles]) for name in tiles[0]}
    edges = (
        {DARKNESS: np.quantile(nuclei[DARKNESS], np.linspace(0, 1, N_DARKNESS + 1))} if len(nuclei[DARKNESS]) else {}
    )
    if SIZE in nuclei:
        edges = {SIZE: np.array(SIZES_UM), **edges}
    bins = []
    for by, bounds in edges.items():
        # The last bin holds its upper bound, too.
        place = np.searchsorted(bounds[1:-1], nuclei[by], side="right")
        for i, (low, high) in enumerate(pairwise(bounds.tolist())):
            here = place == i
            counts = {
                kind: {name: int(nuclei[f"{kind} {name}"][here].sum()) for name in systems}
                for kind in ("found", "touched")
            }
            ends = {"low": low, "high": high if np.isfinite(high) else None}
            bins.append({"by": by, **ends, "truth": int(here.sum()), **counts})
    return bins
