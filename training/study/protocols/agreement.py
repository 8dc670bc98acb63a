"""Whether a cluster keeps its meaning: fits of the same cells by other seeds, compared with one another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations
from pathlib import Path
from typing import Any

from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from app.pipeline.types import UInt8Array
from training.cells.extract import CELLS, Cells
from training.study.records import Record, Records, provenance
from training.study.systems.clusterer import ClustererFactory
from training.study.typed_cells import TypedCells


def evaluate_agreement(
    sets: dict[str, UInt8Array],
    system: tuple[str, ClustererFactory],
    n_clusters: int,
    seeds: Iterable[int],
    records: Records,
    told: Callable[[str], Any],
) -> None:
    """Fit a system by each seed to each set, and record the agreement of every pair of fits.

    A record holds set, system, n_clusters, seed and other_seed, cells, ari (adjusted Rand index, 1 = the same clusters,
    0 = by chance) and nmi (mutual information over the mean of both entropies), and the `provenance`.

    Args:
        sets: (N, 32, 32, 3) uint8 crops by the set's name.
        system: its name, and what makes one.
        n_clusters: K.
        seeds: at least two.
        records: kept as soon as a set is done.
        told: receives a line on each pair.

    Raises:
        DivergedError: a loss became infinite or NaN.
    """
    name, create = system
    for of_set, crops in sets.items():
        clusters = {}
        for seed in seeds:
            fitted = create(n_clusters, seed)
            fitted.fit(crops)
            clusters[seed] = fitted.clusters(crops)
        for (seed, one), (other_seed, other) in combinations(clusters.items(), 2):
            record: Record = {
                "set": of_set,
                "system": name,
                "n_clusters": n_clusters,
                "seed": seed,
                "other_seed": other_seed,
                "cells": len(crops),
                "ari": float(adjusted_rand_score(one, other)),
                "nmi": float(normalized_mutual_info_score(one, other)),
                **provenance(),
            }
            records.keep(record)
            told(f"{of_set}, {name}, seeds {seed} and {other_seed}: ARI {record['ari']:.3f}")


def load_crops(directory: Path) -> UInt8Array:
    """Crops of what `cells` or `labelled` wrote into a directory, without types.

    Raises:
        DataError: neither has.
    """
    if (directory / CELLS).is_file():
        return Cells.load(directory).crops
    return TypedCells.load(directory).unlabelled.crops
