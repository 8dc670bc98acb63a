"""Tables II and III: systems that learn without types, scored against the types (paper §IV-D)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from training.errors import DivergedError
from training.study.metrics.clusters import score_clusters
from training.study.protocols.neighbours import by_company, neighbours
from training.study.records import Record, Records, provenance
from training.study.systems.cell_systems import MissingSystemError, clusterer
from training.study.systems.clusterer import Clusterer, ClustererFactory, Probable
from training.study.typed_cells import TypedCells

Find = Callable[[str], ClustererFactory]
Told = Callable[[str], Any]


@dataclass(frozen=True)
class ClusteringTask:
    """Which fits are asked for: every combination.

    Attributes:
        systems: by name.
        seeds: of the fits.
        n_clusters: each K.
        again: whether what is recorded already is measured again.
    """

    systems: tuple[str, ...]
    seeds: Iterable[int]
    n_clusters: tuple[int, ...]
    again: bool = False


def evaluate_clustering(
    sets: dict[str, TypedCells], task: ClusteringTask, records: Records, told: Told, find: Find = clusterer
) -> None:
    """Run every fit that is not recorded yet, and record each as it ends.

    As in the paper, a system learns from all cells of a set, without types, and its clusters of the same cells are
    scored.

    Args:
        sets: typed cells by the set's name.
        task: what to run.
        records: kept as soon as they are measured.
        told: receives a line on each fit, and on a system that cannot be run here, which is passed over.
        find: the factory of a system by its name.

    Raises:
        DataError: there is no system of a name.
    """
    asked: list[Record] = [
        {"set": name, "system": system, "n_clusters": k, "seed": seed}
        for system in task.systems
        for name in sets
        for k in task.n_clusters
        for seed in task.seeds
    ]
    for fit in asked:
        if not task.again and records.find(**fit):
            told(f"{_describe(fit)}: recorded already")
            continue
        try:
            system = find(fit["system"])
        except MissingSystemError as error:
            told(str(error))
            continue
        record = {**fit, **score_fit(system, sets[fit["set"]], fit["n_clusters"], fit["seed"])}
        records.keep(record)
        told(f"{_describe(fit)}: {_outcome(record)}")


def score_fit(system: ClustererFactory, cells: TypedCells, n_clusters: int, seed: int) -> Record:
    """Fit a system to the cells and score its clusters of them.

    Returns:
        `score_clusters`'s figures; in_company: the same of `by_company`'s clusters; and the system's notes; or
        `failed`, the reason why it has none. cells, types: their numbers. seconds: of fit and assignment. And the
        `provenance`.
    """
    start = perf_counter()
    fitted = system(n_clusters, seed)
    try:
        fitted.fit(cells.unlabelled.crops)
        figures = _scores(fitted, cells, n_clusters)
    except DivergedError as error:
        outcome: Record = {"failed": str(error)}
    else:
        outcome = {**figures, "notes": {name: float(value) for name, value in fitted.notes().items()}}
    return {
        **outcome,
        "cells": len(cells.types),
        "types": len(cells.type_names),
        "seconds": round(perf_counter() - start, 1),
        **provenance(),
    }


def _scores(fitted: Clusterer, cells: TypedCells, n_clusters: int) -> Record:
    crops = cells.unlabelled.crops
    if isinstance(fitted, Probable):
        probabilities = fitted.probabilities(crops)
        clusters = probabilities.argmax(axis=1).astype(np.int64)
    else:
        clusters = fitted.clusters(crops)
        probabilities = np.eye(n_clusters, dtype=np.float32)[clusters]
    with_company = by_company(probabilities, neighbours(cells.unlabelled))
    return {**score_clusters(cells.types, clusters), "in_company": score_clusters(cells.types, with_company)}


def _describe(fit: Record) -> str:
    return f"{fit['set']}, {fit['system']}, K = {fit['n_clusters']}, seed {fit['seed']}"


def _outcome(record: Record) -> str:
    if "failed" in record:
        return str(record["failed"])
    return f"purity {record['purity']:.3f}, NMI {record['nmi']:.3f}, {record['seconds']:.0f} s"
