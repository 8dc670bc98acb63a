"""Proportions with known labels → the models of the tile's label, and how well they do on what they have not seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_auc_score
from sklearn.svm import LinearSVC

from app.pipeline.label.decide import nearest_label
from app.pipeline.manifest import KMeans as KMeansPart
from app.pipeline.types import Float64Array, Int64Array
from training.cells.tile_labels import LABELS
from training.config import FitConfig

Folds = Iterable[tuple[Int64Array, Int64Array]]


@dataclass(frozen=True)
class Examples:
    """Tiles, or what stands for them.

    Attributes:
        proportions: (B, K) float64, each row sums to 1.
        abnormal: (B,) int64, 1 = abnormal.
    """

    proportions: Float64Array
    abnormal: Int64Array

    def __getitem__(self, chosen: Int64Array) -> Examples:
        """Some of them, by index."""
        return Examples(self.proportions[chosen], self.abnormal[chosen])


def fit_models(examples: Examples, config: FitConfig) -> dict[str, Any]:
    """Fit the L2-SVM and k-means (paper §III-B2).

    The rarer label weighs as much as the other one: how many tiles of each someone has collected says nothing of how
    often each occurs.

    Args:
        examples: with both labels among them.
        config: C, seed, and the cells below which the service gives no label.

    Returns:
        min_cells, svm and kmeans of `app.pipeline.manifest.ImageLevel`.
    """
    svm = LinearSVC(C=config.svm_c, class_weight="balanced", random_state=config.seed)
    svm.fit(examples.proportions, examples.abnormal)
    return {
        "min_cells": config.min_cells,
        "svm": {"weights": svm.coef_[0].tolist(), "bias": float(svm.intercept_[0])},
        "kmeans": _fit_kmeans(examples, config.seed),
    }


def _fit_kmeans(examples: Examples, seed: int) -> dict[str, Any]:
    """Two centres by k-means++; the one that holds the larger share of abnormal examples is called abnormal."""
    kmeans = KMeans(n_clusters=2, init="k-means++", n_init=10, random_state=seed).fit(examples.proportions)
    # Of a collapsed Q all examples are alike, and a centre may be empty.
    shares = [
        examples.abnormal[kmeans.labels_ == centre].sum() / max(1, (kmeans.labels_ == centre).sum())
        for centre in (0, 1)
    ]
    labels = list(LABELS[::-1] if shares[0] > shares[1] else LABELS)
    return {"centres": kmeans.cluster_centers_.tolist(), "labels": labels}


def score_left_out(examples: Examples, folds: Folds, config: FitConfig) -> tuple[dict[str, Any], Float64Array]:
    """Label every example, as the service would, with models that were fitted without its fold.

    Args:
        examples: B.
        folds: the indices of what is fitted to, both labels among them, and of what is left out, each of the B once.
        config: as for `fit_models`.

    Returns:
        Precision, recall and F1 of the SVM, weighted by support (as Table IV of the paper), the AUC of its scores, how
        often each label was called what, and the first three of k-means. And the (B,) scores.
    """
    scores = np.zeros(len(examples.abnormal))
    nearest = np.zeros(len(examples.abnormal), dtype=np.int64)
    for rest, fold in folds:
        model = fit_models(examples[rest], config)
        kmeans = KMeansPart.model_validate(model["kmeans"])
        scores[fold] = examples.proportions[fold] @ model["svm"]["weights"] + model["svm"]["bias"]
        nearest[fold] = [LABELS.index(nearest_label(examples.proportions[i], kmeans)) for i in fold]
    called = (scores > 0).astype(np.int64)
    counts = confusion_matrix(examples.abnormal, called, labels=range(len(LABELS))).tolist()
    return {
        **_weighted(examples.abnormal, called),
        "auc": float(roc_auc_score(examples.abnormal, scores)),
        "called": {name: dict(zip(LABELS, row, strict=True)) for name, row in zip(LABELS, counts, strict=True)},
        "kmeans": _weighted(examples.abnormal, nearest),
    }, scores


def _weighted(truth: Int64Array, called: Int64Array) -> dict[str, float]:
    figures = precision_recall_fscore_support(truth, called, average="weighted", zero_division=0)
    return dict(zip(("precision", "recall", "f1"), map(float, figures[:3]), strict=True))
