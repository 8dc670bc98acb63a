"""How well the types are told from features when only a few cells of each type are named."""

from __future__ import annotations

from time import perf_counter

import numpy as np
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from app.pipeline.types import Int64Array
from training.metrics.classification import score_types
from training.study.interfaces import DescriberFactory
from training.study.protocols.classification import ClassificationTask, Find, describe_split
from training.study.protocols.fits import Report, record_fits
from training.study.records import Record, Records, provenance
from training.study.systems.cell_systems import describer
from training.study.systems.grouped_svm import CHOICES_OF_C
from training.study.typed_cells import TypedCells

NAMED = (5, 10, 20, 50, 100, 500)
"""Numbers of named cells of each type."""
FOLDS = 3
"""Parts of the named cells, to choose C: no cell but those is named."""


def evaluate_few_labels(
    sets: dict[str, TypedCells], task: ClassificationTask, records: Records, report: Report, find: Find = describer
) -> None:
    """Run every fit that is not recorded yet, on the splits of Table I, and record each as it ends.

    Args:
        sets: typed cells by the name of the set.
        task: the fits to run; each split has its own draw of the cells that are named.
        records: receives each record as soon as it is measured.
        report: called with a line about each fit, and about each system that cannot be run here and is skipped.
        find: returns the factory of a system by its name.

    Raises:
        DataError: there is no system of a name.
    """

    def measure(system: DescriberFactory, fit: Record) -> tuple[Record, str]:
        figures = score_few_labels(system, sets[fit["set"]], fit["split"], fit["seed"])
        return figures, ", ".join(f"F {figures[f'f1_{number}']:.3f} of {number}" for number in NAMED)

    record_fits(task.fits(sets), task.again, records, report, find, measure)


def score_few_labels(system: DescriberFactory, cells: TypedCells, split: int, seed: int) -> Record:
    """Learn features from the training tiles without types, and an SVM from a few cells of these tiles with types.

    Returns:
        f1_N and macro_f1_N, as `score_types` defines them, on the test tiles, for each number N of `NAMED`; the number
        of training_cells and test_cells; the seconds of all steps; and the `provenance`.
    """
    start = perf_counter()
    sides = describe_split(system, cells, split, seed)
    scaler = StandardScaler().fit(sides.of_training)
    training, test = scaler.transform(sides.of_training), scaler.transform(sides.of_test)
    types = cells.types[sides.training]
    figures: Record = {}
    for number in NAMED:
        named = draw_named(types, number, split)
        found = _fit(training[named], types[named], seed).predict(test)
        scores = score_types(cells.types[sides.test], np.asarray(found, np.int64))
        figures |= {f"{figure}_{number}": scores[figure] for figure in ("f1", "macro_f1")}
    return {
        **figures,
        "training_cells": len(sides.training),
        "test_cells": len(sides.test),
        "seconds": round(perf_counter() - start, 1),
        **provenance(),
    }


def draw_named(types: Int64Array, number: int, draw: int) -> Int64Array:
    """Draw the cells that are named: as many of each type, or all cells of a type that has fewer.

    Args:
        types: (N,) int64, type of each cell.
        number: cells to name of each type.
        draw: seed. The same types and draw give the same cells, whatever the system, and a larger number keeps the
            cells of a smaller one.

    Returns:
        Indices of the named cells, each once.
    """
    order = np.random.default_rng(draw).permutation(len(types))
    chosen = [order[types[order] == kind][:number] for kind in np.unique(types)]
    return np.concatenate(chosen).astype(np.int64)


def _fit(features: np.ndarray, types: Int64Array, seed: int) -> GridSearchCV:
    """Fit the SVM of Table I to standardised features; its C is chosen on the named cells alone."""
    model = LinearSVC(random_state=seed, max_iter=5000)
    choices = [c / features.shape[1] for c in CHOICES_OF_C]
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    return GridSearchCV(model, {"C": choices}, scoring="f1_macro", cv=folds).fit(features, types)
