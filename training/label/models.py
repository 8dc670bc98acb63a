"""Descriptors with known labels → an L2-SVM and k-means (paper §III-B2), and their scores on examples left out."""

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
    """Tiles, or simulated bags of cells, with their labels.

    Attributes:
        proportions: (B, K) float64, each row sums to 1.
        abnormal: (B,) int64, 1 = abnormal.
        measurements: (B, D) float64, standardised medians of measurements of their cells; D = 0 for proportions alone.
    """

    proportions: Float64Array
    abnormal: Int64Array
    measurements: Float64Array

    @property
    def descriptors(self) -> Float64Array:
        """(B, K + D) float64, what the SVM knows of each; k-means knows the proportions alone."""
        return np.hstack([self.proportions, self.measurements])

    def __getitem__(self, chosen: Int64Array) -> Examples:
        """Return the examples with these indices."""
        return Examples(self.proportions[chosen], self.abnormal[chosen], self.measurements[chosen])


def fit_models(examples: Examples, config: FitConfig) -> dict[str, Any]:
    """Fit the L2-SVM and k-means (paper §III-B2).

    In the SVM both labels weigh the same, however many examples each has: how many tiles of a label somebody has
    collected does not show how often it occurs.

    Args:
        examples: of both labels.
        config: C, seed, and the smallest number of cells for which the service gives a label.

    Returns:
        The fields min_cells, svm and kmeans of `app.pipeline.manifest.ImageLevel`.
    """
    return {
        "min_cells": config.min_cells,
        "svm": fit_svm(examples, config),
        "kmeans": _fit_kmeans(examples, config.seed),
    }


def fit_svm(examples: Examples, config: FitConfig) -> dict[str, Any]:
    """Fit the L2-SVM; the arguments are those of `fit_models`. Return `app.pipeline.manifest.Svm`."""
    svm = LinearSVC(C=config.svm_c, class_weight="balanced", random_state=config.seed)
    svm.fit(examples.descriptors, examples.abnormal)
    return {"weights": svm.coef_[0].tolist(), "bias": float(svm.intercept_[0])}


def svm_scores(svm: dict[str, Any], descriptors: Float64Array) -> Float64Array:
    """Return the decision values of (B, K + D) descriptors, (B,)."""
    return np.asarray(descriptors @ np.asarray(svm["weights"]) + svm["bias"])


def _fit_kmeans(examples: Examples, seed: int) -> dict[str, Any]:
    """Find two centres by k-means++; the one with the larger share of abnormal examples is called abnormal."""
    kmeans = KMeans(n_clusters=2, init="k-means++", n_init=10, random_state=seed).fit(examples.proportions)
    # If Q has collapsed, all examples are alike, and a centre may be empty.
    shares = [
        examples.abnormal[kmeans.labels_ == centre].sum() / max(1, (kmeans.labels_ == centre).sum())
        for centre in (0, 1)
    ]
    labels = list(LABELS[::-1] if shares[0] > shares[1] else LABELS)
    return {"centres": kmeans.cluster_centers_.tolist(), "labels": labels}


def score_left_out(examples: Examples, folds: Folds, config: FitConfig) -> tuple[dict[str, Any], Float64Array]:
    """Label every example, as the service would, with models that were fitted without its fold.

    Args:
        examples: B examples.
        folds: indices of the examples to fit to, with both labels among them, and of the examples to label; each of the
            B examples is labelled once.
        config: as for `fit_models`.

    Returns:
        First, precision, recall and F1 of the SVM, weighted by support (as in Table IV of the paper), the AUC of its
        scores, the confusion matrix `called` by true and given label, and the first three for k-means. Second, the
        (B,) scores of the SVM.
    """
    scores = np.zeros(len(examples.abnormal))
    nearest = np.zeros(len(examples.abnormal), dtype=np.int64)
    for rest, fold in folds:
        model = fit_models(examples[rest], config)
        kmeans = KMeansPart.model_validate(model["kmeans"])
        scores[fold] = svm_scores(model["svm"], examples.descriptors[fold])
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
    """Return precision, recall and F1, weighted by the number of examples of each label."""
    figures = precision_recall_fscore_support(truth, called, average="weighted", zero_division=0)
    return dict(zip(("precision", "recall", "f1"), map(float, figures[:3]), strict=True))
