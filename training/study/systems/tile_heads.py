"""A tile's features → its label, learned on training tiles: the two heads of the paper's Table IV (§III-B2, §IV-E)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from app.pipeline.types import Float64Array, Int64Array
from training.study.systems.grouped_svm import fit_svm, leave_one_out


@dataclass(frozen=True)
class TileFold:
    """The tiles of one fold.

    Attributes:
        features: (T, D) float64 of every tile.
        positive: (T,) int64, 0 or 1.
        blocks: (T,) int64.
        test_block: that is tested on; the others are learned from.
        seed: of k-means and of the SVM.
    """

    features: Float64Array
    positive: Int64Array
    blocks: Int64Array
    test_block: int
    seed: int

    @property
    def test(self) -> np.ndarray:
        """Which tiles are tested on, (T,) bool."""
        return self.blocks == self.test_block


def by_svm(fold: TileFold) -> dict[str, float]:
    """`score` of an L2-SVM, its C chosen by leaving out each training block in turn; and `c`."""
    training = ~fold.test
    blocks = fold.blocks[training]
    svm, c = fit_svm(fold.features[training], fold.positive[training], blocks, leave_one_out(blocks), fold.seed)
    return {**score(fold.positive[fold.test], svm.decision_function(fold.features[fold.test])), "c": c}


def by_kmeans(fold: TileFold) -> dict[str, float]:
    """`score` of two centres (k-means++) found without labels; labels then only name the centres, by majority.

    A test tile's score is how much farther it is from the other centre than from the positive one. Of two centres with
    the same majority the one with the larger share of positive tiles is the positive one.
    """
    training = ~fold.test
    kmeans = KMeans(n_clusters=2, init="k-means++", n_init=10, random_state=fold.seed).fit(fold.features[training])
    # Where all tiles are alike, as those of a collapsed Q, a centre is empty.
    shares = [
        fold.positive[training][kmeans.labels_ == centre].sum() / max(1, (kmeans.labels_ == centre).sum())
        for centre in (0, 1)
    ]
    distances = kmeans.transform(fold.features[fold.test])
    positive = int(np.argmax(shares))
    return score(fold.positive[fold.test], distances[:, 1 - positive] - distances[:, positive])


def score(positive: Int64Array, scores: Float64Array) -> dict[str, float]:
    """precision, recall and f1 (eq. 13) of the positive label where a score is above 0, and auc of the scores.

    Args:
        positive: (M,) int64, both 0 and 1 among them.
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
