"""The L2-SVM of Tables I and IV, whose C is chosen within the training data alone."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import BaseCrossValidator, GridSearchCV, GroupKFold, GroupShuffleSplit
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

CHOICES_OF_C = (0.01, 0.1, 1.0)
"""Choices of C, divided by the number of features, which is the squared length of a standardised cell.

A C of 10 takes minutes on thousands of cells and features, and improves manual features on `consep` by .004 only.
"""
HELD_OUT = 0.25
"""Share of the training groups on which C is chosen if there is a single split."""


def one_split(seed: int) -> GroupShuffleSplit:
    """Return a split to choose C on a quarter of the training groups, for many cells, with which folds take long."""
    return GroupShuffleSplit(n_splits=1, test_size=HELD_OUT, random_state=seed)


def leave_one_out(groups: np.ndarray) -> GroupKFold:
    """Return folds to choose C by leaving out each training group in turn: for few tiles in few blocks."""
    return GroupKFold(n_splits=len(np.unique(groups)))


def fit_svm(
    features: np.ndarray, targets: np.ndarray, groups: np.ndarray, splits: BaseCrossValidator, seed: int
) -> tuple[Pipeline, float]:
    """Standardise features and fit a linear SVM with L2 penalty (squared hinge, one against the rest).

    Args:
        features: (N, D) float.
        targets: (N,) int64.
        groups: (N,) int64, at least two different ones; a group, such as a tile, is never split between fit and choice.
        splits: splits of the groups, to choose C.
        seed: seed of the solver.

    Returns:
        The scaler and the SVM, fitted to all rows; and C, which gave the best weighted F on the rows that were left
        out.
    """
    model = make_pipeline(StandardScaler(), LinearSVC(random_state=seed, max_iter=5000))
    choices = [c / features.shape[1] for c in CHOICES_OF_C]
    search = GridSearchCV(model, {"linearsvc__C": choices}, scoring="f1_weighted", cv=splits)
    search.fit(features, targets, groups=groups)
    return search.best_estimator_, float(search.best_params_["linearsvc__C"])
