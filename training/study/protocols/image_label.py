"""Table IV: the label of a tile, from its proportions in clusters that were learned without labels (paper §IV-E)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from app.pipeline.bundle.load import Bundle
from app.pipeline.measure.table import INDEX
from app.pipeline.run import analyse
from app.pipeline.types import Float64Array, Int64Array
from training.cells.tile_files import MAX_TILE_PIXELS, png_bytes, read_tile, tile_paths
from training.cells.unlabelled import UnlabelledCells
from training.errors import DataError
from training.label.descriptor import NAMES as DESCRIPTOR
from training.study.interfaces import Clusterer, ClustererFactory, Probable
from training.study.labelled_tiles import N_BLOCKS, LabelledTiles
from training.study.records import Record, Records, provenance
from training.study.systems.cell_systems import BUNDLE, DESCRIBERS, WHOLE_TILES, MissingSystemError, clusterer
from training.study.systems.tile_heads import TileFold, by_kmeans, by_logistic_regression, by_svm
from training.study.typed_cells import read_enlarged

KMEANS = "k-means on proportions"
SVM = "SVM on proportions"
SVM_SOFT = "SVM on mean probabilities"
SVM_DENSITY = "SVM on cells of each cluster per tile"
SVM_TILE = "SVM on the whole tile"
SVM_MEASUREMENTS = "SVM on proportions and measurements"
N_CELLS = "logistic regression on the number of cells"

Find = Callable[[str], ClustererFactory]


@dataclass(frozen=True)
class ImageLabelTask:
    """The fits to run: every combination of system, K and seed, with every block as test block in turn.

    Attributes:
        systems: names of the clusterers.
        seeds: seeds of the clusterer, of its sample of cells and of the heads.
        n_clusters: each K.
        max_cells: largest number of cells that a clusterer learns from.
        again: whether to measure again what is already recorded.
    """

    systems: tuple[str, ...]
    seeds: Iterable[int]
    n_clusters: tuple[int, ...]
    max_cells: int
    again: bool = False


def evaluate_image_label(
    name: str,
    tiles: LabelledTiles,
    task: ImageLabelTask,
    records: Records,
    report: Callable[[str], Any],
    find: Find = clusterer,
) -> None:
    """Run every fit that is not recorded yet, and record each as it ends.

    Neither the cells nor the label of a test tile are learned from.

    Args:
        name: name of the set.
        tiles: labelled tiles with their cells.
        task: the fits to run.
        records: receives each record as soon as it is measured.
        report: called with a line about each fit, and about each system that cannot be run here and is skipped.
        find: returns the factory of a system by its name.

    Raises:
        DataError: there is no system of a name.
    """
    fits: list[Record] = [
        {"set": name, "system": system, "n_clusters": k, "seed": seed, "fold": fold}
        for system in task.systems
        for k in task.n_clusters
        for seed in task.seeds
        for fold in range(N_BLOCKS)
    ]
    for fit in fits:
        title = f"{fit['system']}, K = {fit['n_clusters']}, seed {fit['seed']}, fold {fit['fold']}"
        if not task.again and records.find(**fit, head=SVM):
            report(f"{title}: recorded already")
            continue
        try:
            system = find(fit["system"])
        except MissingSystemError as error:
            report(str(error))
            continue
        fitted = score_fold(system, tiles, fit, task.max_cells)
        # The head that `records.find` looks for is kept last, so that an interrupted fit is measured again.
        for head in sorted(fitted, key=lambda head: head == SVM):
            records.keep({**fit, "head": head, **fitted[head]})
        report(f"{title}: SVM F {fitted[SVM]['f1']:.3f}, AUC {fitted[SVM]['auc']:.3f}")


def score_fold(system: ClustererFactory, tiles: LabelledTiles, fit: Record, max_cells: int) -> dict[str, Record]:
    """Learn clusters from the cells of the training tiles, then each head from these tiles' proportions.

    Args:
        system: factory of the clusterer.
        tiles: all tiles.
        fit: n_clusters, seed and fold.
        max_cells: largest number of cells that the clusterer learns from, see `draw_tiles`.

    Returns:
        For each head, the figures of `tile_heads`, training_cells and training_tiles, which the clusters are learned
        from, test_tiles, the seconds of the clusterer, and the `provenance`.

    Raises:
        DataError: the first tile that is drawn has more cells than `max_cells`.
    """
    start = perf_counter()
    chosen = draw_tiles(tiles, np.flatnonzero(tiles.blocks != fit["fold"]), max_cells, fit["seed"])
    of_training = np.flatnonzero(np.isin(tiles.unlabelled.tile_index, chosen))
    fitted = system(fit["n_clusters"], fit["seed"])
    fitted.fit(tiles.unlabelled[of_training])
    features = describe_tiles(fitted, tiles.unlabelled, len(tiles.tiles), fit["n_clusters"])
    seconds = round(perf_counter() - start, 1)
    folds = {
        head: TileFold(values, tiles.positive, tiles.blocks, fit["fold"], fit["seed"])
        for head, values in features.items()
    }
    scores = {KMEANS: by_kmeans(folds[SVM]), **{head: by_svm(fold) for head, fold in folds.items()}}
    about = {
        "training_cells": len(of_training),
        "training_tiles": len(chosen),
        "test_tiles": int(folds[SVM].test.sum()),
        "seconds": seconds,
    }
    return {head: {**figures, **about, **provenance()} for head, figures in scores.items()}


def draw_tiles(tiles: LabelledTiles, candidates: Int64Array, max_cells: int, seed: int) -> Int64Array:
    """Draw tiles whose cells a clusterer learns from: all, or in random order as many as have `max_cells` in all.

    Tiles are drawn whole, because a system may learn from which cells lie beside each other.

    Args:
        tiles: all tiles.
        candidates: indices of the tiles to draw from.
        max_cells: largest number of cells; the first tile that would exceed it ends the draw.
        seed: of the order.

    Returns:
        Indices of the tiles, at least one.

    Raises:
        DataError: the first tile alone has more cells.
    """
    sizes = np.bincount(tiles.unlabelled.tile_index, minlength=len(tiles.tiles))
    order = np.random.default_rng(seed).permutation(candidates)
    drawn = order[np.cumsum(sizes[order]) <= max_cells]
    if not len(drawn):
        raise DataError(
            f"Tile {tiles.tiles[order[0]]} has {sizes[order[0]]} cells, but a system may learn from {max_cells} at "
            "most. Tiles are learned from whole; give a larger --max-cells."
        )
    return drawn


def describe_tiles(
    fitted: Clusterer, unlabelled: UnlabelledCells, n_tiles: int, n_clusters: int
) -> dict[str, Float64Array]:
    """Return the features of every tile for each head.

    Returns:
        (T, K) float64 for each head, all 0 for a tile without cells. SVM: the proportions, P_i = X_i / ΣX. SVM_DENSITY:
        the counts X_i, which can be compared because the tiles have one size. SVM_SOFT, if the clusterer has
        probabilities: their means over the cells of a tile.
    """
    hard = np.eye(n_clusters)[fitted.clusters(unlabelled.crops)]
    proportions = mean_by_tile(hard, unlabelled, n_tiles)
    cells = np.bincount(unlabelled.tile_index, minlength=n_tiles)
    features = {SVM: proportions, SVM_DENSITY: proportions * cells[:, None]}
    if isinstance(fitted, Probable):
        features[SVM_SOFT] = mean_by_tile(
            fitted.probabilities(unlabelled.crops).astype(np.float64), unlabelled, n_tiles
        )
    return features


def mean_by_tile(values: Float64Array, unlabelled: UnlabelledCells, n_tiles: int) -> Float64Array:
    """Return the mean of (N, K) values over the cells of each tile, (T, K); 0 for a tile without cells."""
    sums = np.zeros((n_tiles, values.shape[1]))
    np.add.at(sums, unlabelled.tile_index, values)
    counts = np.bincount(unlabelled.tile_index, minlength=n_tiles)
    return np.asarray(sums / np.maximum(counts, 1)[:, None])


def describe_whole_tiles(
    directory: Path, names: tuple[str, ...], track: Callable[[Iterable[str]], Iterable[str]] = iter
) -> Float64Array:
    """Return the features of whole tiles by the ImageNet CNN, (T, D).

    Args:
        directory: directory that holds `tiles`.
        names: names of the tiles.
        track: wraps the names, to show progress.

    Raises:
        DataError: a tile is missing or cannot be decoded; a `MissingSystemError` if the CNN is not installed.
    """
    network = DESCRIBERS[WHOLE_TILES].load()(0)
    paths = {path.stem: path for path in tile_paths(directory / "tiles")}
    if missing := sorted(set(names) - set(paths)):
        raise DataError(f"{directory / 'tiles'} lacks {', '.join(missing)}.")
    return np.stack([network.tile_features(read_tile(paths[name])) for name in track(names)]).astype(np.float64)


def evaluate_whole_tiles(name: str, features: Float64Array, tiles: LabelledTiles, records: Records) -> None:
    """Fit an L2-SVM to (T, D) features of whole tiles and record it with one seed, as nothing in it is random."""
    for fold in range(N_BLOCKS):
        figures = by_svm(TileFold(features, tiles.positive, tiles.blocks, fold, seed=0))
        about = {"test_tiles": int((tiles.blocks == fold).sum()), "dimensions": features.shape[1]}
        identity = {"set": name, "system": WHOLE_TILES, "head": SVM_TILE, "seed": 0, "fold": fold}
        records.keep({**identity, **figures, **about, **provenance()})


@dataclass(frozen=True)
class BundleTiles:
    """What a bundle finds in T labelled tiles.

    Attributes:
        n_cells: (T,) float64, the number of cells.
        proportions: (T, K) float64, all 0 for a tile without cells.
        medians: (T, D) float64, of the measurements of `training.label.descriptor`; one that was made on no cell of a
            tile is the mean over the other tiles.
    """

    n_cells: Float64Array
    proportions: Float64Array
    medians: Float64Array


def analyse_labelled(
    paths: list[Path], bundle: Bundle, track: Callable[[Iterable[Path]], Iterable[Path]] = iter
) -> BundleTiles:
    """Analyse tiles of 20×, enlarged to 40×, with a bundle.

    Outliers count as cells, because most cells of another organ are outliers to a bundle of marrow.

    Args:
        paths: the files of T tiles.
        bundle: the bundle.
        track: wraps the paths, to show progress.

    Raises:
        DataError: a tile cannot be decoded.
    """
    columns = [INDEX[name] for name in DESCRIPTOR]
    counts, medians = [], []
    for path in track(paths):
        upload = png_bytes(read_enlarged(path))
        analysis = analyse(upload, bundle, max_pixels=MAX_TILE_PIXELS, mpp=bundle.manifest.mpp)
        counts.append(np.bincount(analysis.proportions.clusters, minlength=bundle.manifest.n_clusters))
        values = analysis.measurements.values[:, columns]
        medians.append([np.median(one[~np.isnan(one)]) if (~np.isnan(one)).any() else np.nan for one in values.T])
    n_cells = np.sum(counts, axis=1).astype(np.float64)
    found = np.array(medians, np.float64)
    known = np.where(np.isnan(found), np.nanmean(found, axis=0), found)
    return BundleTiles(n_cells, np.array(counts) / np.maximum(n_cells, 1)[:, None], known)


def evaluate_bundle(name: str, tiles: BundleTiles, positive: Int64Array, blocks: Int64Array, records: Records) -> None:
    """Learn the label from each descriptor, and from the number of cells alone; nothing in it is random.

    Args:
        name: name of the set.
        tiles: what the bundle finds in T tiles.
        positive: (T,) int64, 1 for tiles of the positive label, else 0.
        blocks: (T,) int64, block of every tile; each is tested on once.
        records: receives the records.
    """
    k = tiles.proportions.shape[1]
    heads = (
        ({"head": N_CELLS}, tiles.n_cells[:, None], by_logistic_regression),
        ({"head": SVM, "n_clusters": k}, tiles.proportions, by_svm),
        ({"head": SVM_MEASUREMENTS, "n_clusters": k}, np.hstack([tiles.proportions, tiles.medians]), by_svm),
    )
    for head, features, learn in heads:
        for fold in range(N_BLOCKS):
            figures = learn(TileFold(features, positive, blocks, fold, seed=0))
            about = {"test_tiles": int((blocks == fold).sum()), "dimensions": features.shape[1]}
            identity = {"set": name, "system": BUNDLE, **head, "seed": 0, "fold": fold}
            records.keep({**identity, **figures, **about, **provenance()})
