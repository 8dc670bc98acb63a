"""How stable clusters are for each number of clusters, to choose that number by; no type or label is needed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from sklearn.metrics import adjusted_rand_score

from app.pipeline.types import Int64Array
from training.cells.unlabelled import UnlabelledCells
from training.errors import DataError
from training.metrics.clusters import matched_share
from training.representation.traits import explained_traits
from training.study.interfaces import Clusterer, ClustererFactory
from training.study.protocols.fits import Report
from training.study.records import Record, Records, provenance


@dataclass(frozen=True)
class StabilityTask:
    """The fits to run: every combination of set, K and seed, of one system.

    Attributes:
        system: name of the system.
        seeds: at least two.
        n_clusters: each K.
        again: whether to measure again what is already recorded.
    """

    system: str
    seeds: tuple[int, ...]
    n_clusters: tuple[int, ...]
    again: bool = False

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """All pairs of seeds."""
        return list(combinations(self.seeds, 2))


def evaluate_stability(
    sets: dict[str, UnlabelledCells], task: StabilityTask, create: ClustererFactory, records: Records, report: Report
) -> None:
    """Learn clusters with every K and seed, and record each fit, and the agreement of each pair of seeds.

    The record of a fit holds rotation_agreement, smallest_share and `explained_…`, as `describe_fit` defines them; that
    of a pair, which has an other_seed, ari and matched, as `compare` does. Both hold set, system, n_clusters, seed, the
    number of cells, and the `provenance`.

    Args:
        sets: cells by the name of the set.
        task: the fits to run.
        create: the factory of the system.
        records: receives the records of a K as soon as all its seeds are measured.
        report: called with a line about each K.

    Raises:
        DataError: a set has fewer cells than clusters are asked for; nothing was fitted.
        DivergedError: a loss became infinite or NaN.
    """
    for name, cells in sets.items():
        if len(cells) < (most := max(task.n_clusters)):
            raise DataError(f"{name} has {len(cells)} cells for {most} clusters; give more cells, or fewer clusters.")
    for name, cells in sets.items():
        for k in task.n_clusters:
            about: Record = {"set": name, "system": task.system, "n_clusters": k}
            fits = [{**about, "seed": seed} for seed in task.seeds]
            pairs = [{**about, "seed": one, "other_seed": other} for one, other in task.pairs]
            title = f"{name}, {task.system}, K = {k}"
            if not task.again and all(records.find(**identity) for identity in [*fits, *pairs]):
                report(f"{title}: recorded already")
                continue
            clusters = {}
            for fit in fits:
                fitted = create(k, fit["seed"])
                fitted.fit(cells)
                clusters[fit["seed"]] = fitted.clusters(cells.crops)
                fit |= describe_fit(fitted, cells, clusters[fit["seed"]], k)
            for pair in pairs:
                pair |= compare(clusters[pair["seed"]], clusters[pair["other_seed"]])
            for record in [*fits, *pairs]:
                records.keep({**record, "cells": len(cells), **provenance()})
            report(f"{title}: ARI between seeds {np.mean([pair['ari'] for pair in pairs]):.3f}")


def describe_fit(fitted: Clusterer, cells: UnlabelledCells, clusters: Int64Array, n_clusters: int) -> Record:
    """Return what can be said of the clusters of one fit.

    Returns:
        rotation_agreement: of all pairs of a cell and its turn by 90°, 180° or 270°, the share in one cluster.
        smallest_share: the share of the cells in the smallest cluster, 0 if a cluster is empty. explained_area,
        explained_density, explained_eccentricity and explained_contrast: η², as `explained_traits` defines them.
    """
    turned = [np.ascontiguousarray(np.rot90(cells.crops, quarter, axes=(1, 2))) for quarter in (1, 2, 3)]
    return {
        "rotation_agreement": float(np.mean([(fitted.clusters(crops) == clusters).mean() for crops in turned])),
        "smallest_share": float(np.bincount(clusters, minlength=n_clusters).min() / len(clusters)),
        **{f"explained_{trait}": share for trait, share in explained_traits(cells.crops, clusters).items()},
    }


def compare(one: Int64Array, other: Int64Array) -> Record:
    """Return the agreement of two clusterings of the same cells.

    Returns:
        ari: the adjusted Rand index, 1 for the same clusters and 0 for chance. matched: see `matched_share`.
    """
    return {"ari": float(adjusted_rand_score(one, other)), "matched": matched_share(one, other)}
