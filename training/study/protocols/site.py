"""How well the tile that a cell comes from can be told from its features, beside its type.

Features that know the tile know its stain or its scanner, and not only the cell.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from time import perf_counter

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import balanced_accuracy_score

from app.pipeline.types import Float32Array, Int64Array
from training.errors import DataError
from training.study.interfaces import DescriberFactory
from training.study.protocols.classification import Find
from training.study.protocols.fits import Report, record_fits
from training.study.records import Record, Records, provenance
from training.study.systems.cell_systems import describer
from training.study.typed_cells import TypedCells

FEWEST_CELLS = 20
"""A tile takes part if it has as many cells, so that its half is enough to learn it by."""
DRAWS = 5
"""Draws of the halves, over which the figures of a fit are means."""


@dataclass(frozen=True)
class SiteTask:
    """The fits to run: every combination of system, set and seed.

    Attributes:
        systems: names of the systems.
        seeds: seeds of the system.
        again: whether to measure again what is already recorded.
    """

    systems: tuple[str, ...]
    seeds: Iterable[int]
    again: bool = False


def evaluate_site(
    sets: dict[str, TypedCells], task: SiteTask, records: Records, report: Report, find: Find = describer
) -> None:
    """Run every fit that is not recorded yet, and record each as it ends.

    Args:
        sets: typed cells by the name of the set.
        task: the fits to run.
        records: receives each record as soon as it is measured.
        report: called with a line about each fit, and about each system that cannot be run here and is skipped.
        find: returns the factory of a system by its name.

    Raises:
        DataError: there is no system of a name, or fewer than two tiles of a set have enough cells.
    """
    fits: list[Record] = [
        {"set": name, "system": system, "seed": seed} for system, name, seed in product(task.systems, sets, task.seeds)
    ]

    def measure(system: DescriberFactory, fit: Record) -> tuple[Record, str]:
        figures = score_site(system, sets[fit["set"]], fit["seed"])
        return figures, f"tile {figures['tile']:.3f}, type {figures['type']:.3f}"

    record_fits(fits, task.again, records, report, find, measure)


def score_site(system: DescriberFactory, cells: TypedCells, seed: int) -> Record:
    """Learn features from all cells without types, and tell tile and type from them.

    The cells of each tile are split in halves at random. A linear discriminant learns from one half and is tested on
    the other, once for the tiles and once for the types; classes count alike, and no setting has to be chosen.

    Returns:
        tile and type, the balanced accuracies, means over the draws of the halves, which are the same for every system;
        tiles and types, the numbers of classes, whose inverse is chance; cells, how many take part; the seconds of all
        steps; and the `provenance`.

    Raises:
        DataError: fewer than two tiles have enough cells.
    """
    start = perf_counter()
    _, tile_of, sizes = np.unique(cells.unlabelled.tile_index, return_inverse=True, return_counts=True)
    if (sizes >= FEWEST_CELLS).sum() < 2:
        raise DataError(
            f"Two tiles of at least {FEWEST_CELLS} cells are needed; the largest of {len(sizes)} has {sizes.max()}."
        )
    chosen = np.flatnonzero(sizes[tile_of] >= FEWEST_CELLS)
    described = system(seed)
    described.fit(cells.unlabelled)
    features = described.features(cells.unlabelled.crops[chosen])
    targets = {"tile": tile_of[chosen], "type": cells.types[chosen]}
    halves = [first_half(targets["tile"], draw) for draw in range(DRAWS)]
    return {
        **{name: float(np.mean([_told(features, of, half) for half in halves])) for name, of in targets.items()},
        "tiles": len(np.unique(targets["tile"])),
        "types": len(np.unique(targets["type"])),
        "cells": len(chosen),
        "seconds": round(perf_counter() - start, 1),
        **provenance(),
    }


def first_half(tiles: Int64Array, draw: int) -> np.ndarray:
    """Return (N,) bool: a random half of the cells of each of (N,) tiles, the smaller one if their number is odd."""
    random = np.random.default_rng(draw)
    half = np.zeros(len(tiles), bool)
    for tile in np.unique(tiles):
        members = random.permutation(np.flatnonzero(tiles == tile))
        half[members[: len(members) // 2]] = True
    return half


def _told(features: Float32Array, classes: Int64Array, half: np.ndarray) -> float:
    """Return the balanced accuracy on the cells outside the half that is learned from."""
    known = np.unique(classes[half])
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=np.full(len(known), 1 / len(known)))
    model.fit(features[half], classes[half])
    return float(balanced_accuracy_score(classes[~half], model.predict(features[~half])))
