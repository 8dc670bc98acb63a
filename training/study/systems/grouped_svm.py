"""The L2-SVM of Tables I and IV, its C chosen within the training data alone."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import BaseCrossValidator, GridSearchCV, GroupKFold, GroupShuffleSplit
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

CHOICES_OF_C = (0.01, 0.1, 1.0)
"""Over the number of features: a standardised cell's squared length is that number, and C works against it.

Ten times more takes minutes on thousands of cells and features; manual features gain .004 by it on `consep`.
"""
HELD_OUT = 0.25
"""Share of the training groups that C is chosen on, where one split has to do."""


def one_split(seed: int) -> GroupShuffleSplit:
    """Choose C on a quarter of the training groups: for many cells, where folds would take long."""
    return GroupShuffleSplit(n_splits=1, test_size=HELD_OUT, random_state=seed)


def leave_one_out(groups: np.ndarray) -> GroupKFold:
    """Choose C by leaving each training group out in turn: for few tiles in few blocks."""
    return GroupKFold(n_splits=len(np.unique(groups)))


def fit_svm(
    features: np.ndarray, targets: np.ndarray, groups: np.ndarray, splits: BaseCrossValidator, seed: int
) -> tuple[Pipeline, float]:
    """Standardise features and fit a linear SVM with L2 penalty (squared hinge, one against the rest).

    Args:
        features: (N, D) float.
        targets: (N,) int64.
        groups: (N,) int64, at least two different: what is not to be divided between fit and choice, as a tile.
        splits: of the groups, to choose C.
        seed: of the solver.

    Returns:
        The scaler and SVM, fitted to all; and its C, that of the best weighted F on what was left out.
    """
    model = make_pipeline(StandardScaler(), LinearSVC(random_state=seed, max_iter=5000))
    choices = [c / features.shape[1] for c in CHOICES_OF_C]
    search = GridSearchCV(model, {"linearsvc__C": choices}, scoring="f1_weighted", cv=splits)
    search.fit(features, targets, groups=groups)
    return search.best_estimator_, float(search.best_params_["linearsvc__C"])
