"""The heads of Table IV: they learn the label of a tile from its features (paper §III-B2, §IV-E)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from app.pipeline.types import Float64Array, Int64Array
from training.study.systems.grouped_svm import fit_svm, leave_one_out


@dataclass(frozen=True)
class TileFold:
    """The tiles of one fold.

    Attributes:
        features: (T, D) float64, features of every tile.
        positive: (T,) int64, 1 for tiles of the positive label, else 0.
        blocks: (T,) int64, block of every tile.
        test_block: block that is tested on; all others are learned from.
        seed: seed of k-means and of the SVM.
    """

    features: Float64Array
    positive: Int64Array
    blocks: Int64Array
    test_block: int
    seed: int

    @property
    def test(self) -> np.ndarray:
        """Whether each tile is tested on, (T,) bool."""
        return self.blocks == self.test_block


def by_svm(fold: TileFold) -> dict[str, float]:
    """Return the `score` of an L2-SVM and its C, which is chosen by leaving out each training block in turn."""
    training = ~fold.test
    blocks = fold.blocks[training]
    svm, c = fit_svm(fold.features[training], fold.positive[training], blocks, leave_one_out(blocks), fold.seed)
    return {**score(fold.positive[fold.test], svm.decision_function(fold.features[fold.test])), "c": c}


def by_kmeans(fold: TileFold) -> dict[str, float]:
    """Return the `score` of two centres that k-means found without labels; labels only name them, by majority.

    The score of a test tile is its distance from the negative centre minus that from the positive one. If both centres
    have the same majority, the one with the larger share of positive tiles is the positive one.
    """
    training = ~fold.test
    kmeans = KMeans(n_clusters=2, init="k-means++", n_init=10, random_state=fold.seed).fit(fold.features[training])
    # If all tiles are alike, as for a collapsed Q, a centre has no tiles.
    shares = [
        fold.positive[training][kmeans.labels_ == centre].sum() / max(1, (kmeans.labels_ == centre).sum())
        for centre in (0, 1)
    ]
    distances = kmeans.transform(fold.features[fold.test])
    positive = int(np.argmax(shares))
    return score(fold.positive[fold.test], distances[:, 1 - positive] - distances[:, positive])


def by_logistic_regression(fold: TileFold) -> dict[str, float]:
    """Return the `score` of a plain logistic regression on the standardised features."""
    training = ~fold.test
    model = make_pipeline(StandardScaler(), LogisticRegression())
    model.fit(fold.features[training], fold.positive[training])
    return score(fold.positive[fold.test], model.decision_function(fold.features[fold.test]))


def score(positive: Int64Array, scores: Float64Array) -> dict[str, float]:
    """Return precision, recall, f1 (eq. 13) and auc; a score above 0 stands for the positive label.

    Args:
        positive: (M,) int64, 0 and 1; both occur.
        scores: (M,) float64.
    """
    precision, recall, f1, _ = precision_recall_fscore_support(
        positive, scores > 0, average="binary", pos_label=1, zero_division=0
    )
    return {
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "auc": float(roc_auc_score(positive, scores)),
    }
