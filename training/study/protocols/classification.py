"""Table I: a linear SVM learns the types from features that were learned without types (paper §IV-C)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_fscore_support
from sklearn.model_selection import GroupShuffleSplit

from app.pipeline.types import Int64Array
from training.study.interfaces import DescriberFactory
from training.study.records import Record, Records, provenance
from training.study.systems.cell_systems import MissingSystemError, describer
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
    """The fits to run: every combination of system, set and seed.

    Attributes:
        systems: names of the systems.
        seeds: seeds of the split, the system and the SVM.
        again: whether to measure again what is already recorded.
    """

    systems: tuple[str, ...]
    seeds: Iterable[int]
    again: bool = False


def evaluate_classification(
    sets: dict[str, TypedCells],
    task: ClassificationTask,
    records: Records,
    report: Callable[[str], Any],
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
    fits: list[Record] = [
        {"set": name, "system": system, "seed": seed} for system in task.systems for name in sets for seed in task.seeds
    ]
    for fit in fits:
        title = f"{fit['set']}, {fit['system']}, seed {fit['seed']}"
        if not task.again and records.find(**fit):
            report(f"{title}: recorded already")
            continue
        try:
            system = find(fit["system"])
        except MissingSystemError as error:
            report(str(error))
            continue
        figures, on_test = score_describer(system, sets[fit["set"]], fit["seed"])
        record = {**fit, **figures}
        records.keep(record)
        predicted(record, on_test)
        report(f"{title}: F {record['f1']:.3f}, {record['seconds']:.0f} s")


def split_by_tile(cells: TypedCells, seed: int) -> tuple[Int64Array, Int64Array]:
    """Return the indices of the cells of the training tiles and of the test tiles, which are a fifth of the tiles.

    The paper splits its cells at random. Here the cells of a tile stay together, because they look alike.
    """
    splits = GroupShuffleSplit(n_splits=1, test_size=TEST_SHARE, random_state=seed)
    (split,) = splits.split(cells.types, groups=cells.unlabelled.tile_index)
    return split[0], split[1]


def score_describer(system: DescriberFactory, cells: TypedCells, seed: int) -> tuple[Record, Predicted]:
    """Learn features without types and an SVM with types on the training tiles, and score the SVM on the test tiles.

    Returns:
        The record and the predictions. The record holds precision, recall and f1 (eq. 13, weighted by support); c of
        the SVM, chosen on the training tiles; dimensions, the number of features; training_cells and test_cells; the
        seconds of all steps; and the `provenance`.
    """
    start = perf_counter()
    training, test = split_by_tile(cells, seed)
    described = system(seed)
    learned_from = cells.unlabelled.crops[training]
    described.fit(learned_from)
    features = described.features(learned_from)
    tiles = cells.unlabelled.tile_index[training]
    svm, c = fit_svm(features, cells.types[training], tiles, one_split(seed), seed)
    found = svm.predict(described.features(cells.unlabelled.crops[test]))
    precision, recall, f1, _ = precision_recall_fscore_support(
        cells.types[test], found, average="weighted", zero_division=0
    )
    return {
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "c": c,
        "dimensions": features.shape[1],
        "training_cells": len(training),
        "test_cells": len(test),
        "seconds": round(perf_counter() - start, 1),
        **provenance(),
    }, Predicted(test, np.asarray(found, np.int64))
