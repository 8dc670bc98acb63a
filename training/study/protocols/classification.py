"""Table I: a linear SVM learns the types from features that were learned without types (paper §IV-C).

Every system is tested on the same splits of the tiles, so that two systems can be compared split by split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from time import perf_counter
from typing import Any

import numpy as np
from sklearn.model_selection import GroupShuffleSplit

from app.pipeline.types import Float32Array, Int64Array
from training.metrics.classification import score_types
from training.study.interfaces import DescriberFactory, TypeLearner
from training.study.protocols.fits import Report, record_fits
from training.study.records import Record, Records, provenance
from training.study.systems.cell_systems import describer
from training.study.systems.grouped_svm import fit_svm, one_split
from training.study.typed_cells import TypedCells

TEST_SHARE = 0.2
"""Share of the tiles that is tested on."""

Find = Callable[[str], DescriberFactory]


@dataclass(frozen=True)
class Predicted:
    """The types that an SVM predicts for the cells of the test tiles.

    Attributes:
        cells: (M,) int64, indices of these cells among the typed cells.
        types: (M,) int64, predicted type of each.
    """

    cells: Int64Array
    types: Int64Array


@dataclass(frozen=True)
class ClassificationTask:
    """The fits to run: every combination of system, set, split and seed.

    Attributes:
        systems: names of the systems.
        splits: seeds of the splits by tile, the same for every system.
        seeds: seeds of the system and the SVM, for each split.
        again: whether to measure again what is already recorded.
    """

    systems: tuple[str, ...]
    splits: Iterable[int]
    seeds: Iterable[int]
    again: bool = False

    def fits(self, sets: Iterable[str]) -> list[Record]:
        """Return the identity of each fit on sets of these names."""
        return [
            {"set": name, "system": system, "split": split, "seed": seed}
            for system, name, split, seed in product(self.systems, sets, self.splits, self.seeds)
        ]


def evaluate_classification(
    sets: dict[str, TypedCells],
    task: ClassificationTask,
    records: Records,
    report: Report,
    predicted: Callable[[Record, Predicted], Any],
    find: Find = describer,
) -> None:
    """Run every fit that is not recorded yet, and record each as it ends.

    Args:
        sets: typed cells by the name of the set.
        task: the fits to run.
        records: receives each record as soon as it is measured.
        report: called with a line about each fit, and about each system that cannot be run here and is skipped.
        predicted: called with each record and its predictions.
        find: returns the factory of a system by its name.

    Raises:
        DataError: there is no system of a name.
    """

    def measure(system: DescriberFactory, fit: Record) -> tuple[Record, str]:
        figures, on_test = score_describer(system, sets[fit["set"]], fit["split"], fit["seed"])
        predicted({**fit, **figures}, on_test)
        return figures, f"F {figures['f1']:.3f}, {figures['seconds']:.0f} s"

    record_fits(task.fits(sets), task.again, records, report, find, measure)


def split_by_tile(cells: TypedCells, split: int) -> tuple[Int64Array, Int64Array]:
    """Return the indices of the cells of the training tiles and of the test tiles, which are a fifth of the tiles.

    The paper splits its cells at random. Here the cells of a tile stay together, because they look alike.
    """
    splits = GroupShuffleSplit(n_splits=1, test_size=TEST_SHARE, random_state=split)
    ((training, test),) = splits.split(cells.types, groups=cells.unlabelled.tile_index)
    return training, test


@dataclass(frozen=True)
class Described:
    """Features of the cells on either side of a split, by a system that learned from the training tiles alone.

    Attributes:
        training: (T,) int64, indices of the cells of the training tiles.
        test: (M,) int64, those of the test tiles.
        of_training: (T, D) float32, their features.
        of_test: (M, D) float32, their features.
    """

    training: Int64Array
    test: Int64Array
    of_training: Float32Array
    of_test: Float32Array


def describe_split(system: DescriberFactory, cells: TypedCells, split: int, seed: int) -> Described:
    """Learn features from the cells of a split's training tiles and describe all cells.

    No types are learned from, but by a `TypeLearner`.
    """
    training, test = split_by_tile(cells, split)
    described = system(seed)
    learned_from = cells.unlabelled[training]
    if isinstance(described, TypeLearner):
        described.fit_types(learned_from, cells.types[training])
    else:
        described.fit(learned_from)
    return Described(
        training, test, described.features(learned_from.crops), described.features(cells.unlabelled.crops[test])
    )


def score_describer(system: DescriberFactory, cells: TypedCells, split: int, seed: int) -> tuple[Record, Predicted]:
    """Learn features without types and an SVM with types on the training tiles, and score the SVM on the test tiles.

    Returns:
        The record and the predictions. The record holds the figures of `score_types`; c of the SVM, chosen on the
        training tiles; dimensions, the number of features; training_cells and test_cells; the seconds of all steps; and
        the `provenance`.
    """
    start = perf_counter()
    sides = describe_split(system, cells, split, seed)
    tiles = cells.unlabelled.tile_index[sides.training]
    svm, c = fit_svm(sides.of_training, cells.types[sides.training], tiles, one_split(split), seed)
    found = np.asarray(svm.predict(sides.of_test), np.int64)
    return {
        **score_types(cells.types[sides.test], found),
        "c": c,
        "dimensions": sides.of_training.shape[1],
        "training_cells": len(sides.training),
        "test_cells": len(sides.test),
        "seconds": round(perf_counter() - start, 1),
        **provenance(),
    }, Predicted(sides.test, found)
