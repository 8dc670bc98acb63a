"""Clusters that were learned without types: scored against the types (Tables II and III, paper §IV-D, and Fig. 9b).

Clusters are scored by themselves and with the votes of neighbouring cells, between fits with different seeds, and while
the GAN learns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from app.pipeline.crops import seen, to_network
from app.pipeline.types import Float32Array, Int64Array
from training.cells.unlabelled import UnlabelledCells
from training.config import TrainConfig
from training.errors import DivergedError
from training.metrics.clusters import nmi_tile, score_clusters, within_tiles
from training.representation.traits import explained_traits
from training.study.interfaces import Clusterer, ClustererFactory, Probable
from training.study.protocols.fits import Report, record_fits
from training.study.records import Record, Records, provenance
from training.study.systems.cell_systems import clusterer
from training.study.typed_cells import TypedCells

if TYPE_CHECKING:
    import torch

NEIGHBOURS = 16
"""Nearest cells of the same tile that vote on a cell's cluster."""
NEIGHBOURS_WEIGHT = 2.0
"""Weight of the mean probabilities of a cell's neighbours; its own have weight 1."""
PURITY = "purity.jsonl"

Find = Callable[[str], ClustererFactory]


@dataclass(frozen=True)
class ClusteringTask:
    """The fits to run: every combination of system, set, K and seed.

    Attributes:
        systems: names of the systems.
        seeds: seeds of the fits.
        n_clusters: each K.
        again: whether to measure again what is already recorded.
    """

    systems: tuple[str, ...]
    seeds: Iterable[int]
    n_clusters: tuple[int, ...]
    again: bool = False


def evaluate_clustering(
    sets: dict[str, TypedCells], task: ClusteringTask, records: Records, report: Report, find: Find = clusterer
) -> None:
    """Run every fit that is not recorded yet, and record each as it ends.

    As in the paper, a system learns from all cells of a set, without types, and its clusters of the same cells are
    scored.

    Args:
        sets: typed cells by the name of the set.
        task: the fits to run.
        records: receives each record as soon as it is measured.
        report: called with a line about each fit, and about each system that cannot be run here and is skipped.
        find: returns the factory of a system by its name.

    Raises:
        DataError: there is no system of a name.
    """
    fits: list[Record] = [
        {"set": name, "system": system, "n_clusters": k, "seed": seed}
        for system in task.systems
        for name in sets
        for k in task.n_clusters
        for seed in task.seeds
    ]

    def measure(system: ClustererFactory, fit: Record) -> tuple[Record, str]:
        figures = score_fit(system, sets[fit["set"]], fit["n_clusters"], fit["seed"])
        return figures, _outcome(figures)

    record_fits(fits, task.again, records, report, find, measure)


def score_fit(system: ClustererFactory, cells: TypedCells, n_clusters: int, seed: int) -> Record:
    """Fit a system to the cells and score its clusters of them.

    Returns:
        The figures of `score_clusters`; `within_tiles` (absent if no tile is large enough) and `nmi_tile`;
        `explained_area`, `explained_density`, `explained_eccentricity` and `explained_contrast` (η², as
        `explained_traits` defines them); `in_company`, all but the last four for the clusters of
        `assign_with_neighbours`; and the system's notes. If the fit diverged, `failed` holds the reason instead. Also
        `cells` and `types`, their numbers; `types_nmi_tile`, the NMI of the types themselves with the tiles; `seconds`,
        the time of fit and assignment; and the `provenance`.
    """
    start = perf_counter()
    fitted = system(n_clusters, seed)
    try:
        fitted.fit(cells.unlabelled)
        figures = _scores(fitted, cells, n_clusters)
    except DivergedError as error:
        outcome: Record = {"failed": str(error)}
    else:
        outcome = {**figures, "notes": {name: float(value) for name, value in fitted.notes().items()}}
    return {
        **outcome,
        "cells": len(cells.types),
        "types": len(cells.type_names),
        "types_nmi_tile": nmi_tile(cells.types, cells.unlabelled.tile_index),
        "seconds": round(perf_counter() - start, 1),
        **provenance(),
    }


def assign_with_neighbours(probabilities: Float32Array, neighbour_index: Int64Array) -> Int64Array:
    """Assign each cell by its own probabilities plus twice the mean probabilities of its neighbours.

    Args:
        probabilities: (N, K), probabilities of the cells by themselves; for a system without probabilities, 1 for the
            cell's cluster and 0 for all others.
        neighbour_index: (N, 16) int64, as `neighbours_of` returns it.

    Returns:
        (N,) int64 in 0 … K − 1.
    """
    votes = probabilities + NEIGHBOURS_WEIGHT * probabilities[neighbour_index].mean(axis=1)
    return votes.argmax(axis=1).astype(np.int64)


def evaluate_agreement(
    sets: dict[str, UnlabelledCells],
    system: tuple[str, ClustererFactory],
    n_clusters: int,
    seeds: Iterable[int],
    records: Records,
    report: Report,
) -> None:
    """Fit a system with each seed to each set, and record the agreement of every pair of fits.

    A record holds set, system, n_clusters, seed, other_seed and the number of cells; ari, the adjusted Rand index (1
    for the same clusters, 0 for chance); nmi, the mutual information over the mean of both entropies; and the
    `provenance`.

    Args:
        sets: cells by the name of the set.
        system: its name and its factory.
        n_clusters: K.
        seeds: at least two.
        records: receives the records of a set as soon as it is measured.
        report: called with a line about each pair.

    Raises:
        DivergedError: a loss became infinite or NaN.
    """
    name, create = system
    for set_name, cells in sets.items():
        clusters = {}
        for seed in seeds:
            fitted = create(n_clusters, seed)
            fitted.fit(cells)
            clusters[seed] = fitted.clusters(cells.crops)
        for (seed, one), (other_seed, other) in combinations(clusters.items(), 2):
            record: Record = {
                "set": set_name,
                "system": name,
                "n_clusters": n_clusters,
                "seed": seed,
                "other_seed": other_seed,
                "cells": len(cells),
                "ari": float(adjusted_rand_score(one, other)),
                "nmi": float(normalized_mutual_info_score(one, other)),
                **provenance(),
            }
            records.keep(record)
            report(f"{set_name}, {name}, seeds {seed} and {other_seed}: ARI {record['ari']:.3f}")


def purity_while_training(
    cells: TypedCells,
    config: TrainConfig,
    run: Path,
    every: int,
    device: torch.device,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> None:
    """Train the GAN on typed cells without their types, and score its clusters at regular intervals (Fig. 9b).

    Args:
        cells: typed cells.
        config: configuration of the GAN.
        run: directory of the run, as `training_loop` makes it, with purity.jsonl; an unfinished run is resumed.
        every: iterations between two scores.
        device: device to train on.
        track: wraps the pauses, to show progress.

    Raises:
        DivergedError: a loss became infinite or NaN.
    """
    import torch

    from training.gan.checks import assign_clusters
    from training.gan.loop import training_loop
    from training.tracking import MetricsLog

    run.mkdir(parents=True, exist_ok=True)
    path = run / PURITY
    path.touch()
    crops = seen(cells.unlabelled.crops, config.crops)
    real = torch.from_numpy(to_network(crops)).to(device)
    for pause in track(range(every, config.generator_iterations + 1, every)):
        if any(row["iteration"] == pause for row in MetricsLog.read(path)):
            continue
        trainer = training_loop(config, cells.unlabelled, run, device, stop_after=pause)
        scores = score_clusters(cells.types, assign_clusters(trainer.nets.ema_q, real))
        MetricsLog(path, resume_at=pause).write({"iteration": trainer.iteration, **scores})


def _scores(fitted: Clusterer, cells: TypedCells, n_clusters: int) -> Record:
    from training.representation.company import neighbours_of

    crops = cells.unlabelled.crops
    if isinstance(fitted, Probable):
        probabilities = fitted.probabilities(crops)
        clusters = probabilities.argmax(axis=1).astype(np.int64)
    else:
        clusters = fitted.clusters(crops)
        probabilities = np.eye(n_clusters, dtype=np.float32)[clusters]
    found = neighbours_of(cells.unlabelled.centroids, cells.unlabelled.tile_index, NEIGHBOURS)
    voted = assign_with_neighbours(probabilities, found)
    explained = {f"explained_{trait}": share for trait, share in explained_traits(crops, clusters).items()}
    return {**_agreement(cells, clusters), **explained, "in_company": _agreement(cells, voted)}


def _agreement(cells: TypedCells, clusters: Int64Array) -> Record:
    """Return the scores of clusters against the types, over all cells and within tiles, and against the tiles."""
    tiles = cells.unlabelled.tile_index
    within = within_tiles(cells.types, clusters, tiles)
    return {
        **({} if within is None else {"within_tiles": within}),
        "nmi_tile": nmi_tile(clusters, tiles),
        **score_clusters(cells.types, clusters),
    }


def _outcome(record: Record) -> str:
    if "failed" in record:
        return str(record["failed"])
    within = f"{record['within_tiles']:.3f}" if "within_tiles" in record else "not measured"
    return (
        f"NMI within tiles {within}, purity {record['purity']:.3f}, NMI {record['nmi']:.3f}, {record['seconds']:.0f} s"
    )
