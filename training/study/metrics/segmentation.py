"""Scores of a segmentation against true masks, as pure functions of one count of shared pixels.

Where the truth and the prediction are both empty every score is 1; where only one of them is, 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from app.pipeline.types import Int64Array

PANOPTIC_IOU = 0.5
"""Kirillov et al. 2019: above it a segment has at most one nucleus, and a nucleus at most one segment."""


@dataclass(frozen=True)
class Overlap:
    """How the segments found lie over the true nuclei; both are in the reading order of their topmost pixel.

    Attributes:
        truth_px: (M,) int64 area of each nucleus, ≥ 1.
        found_px: (N,) int64 area of each segment, ≥ 1.
        nucleus: (P,) int64, 0…M−1; with `segment`, the pairs that share a pixel, sorted by nucleus, then segment.
        segment: (P,) int64, 0…N−1.
        shared_px: (P,) int64 pixels that a pair shares, ≥ 1.
    """

    truth_px: Int64Array
    found_px: Int64Array
    nucleus: Int64Array
    segment: Int64Array
    shared_px: Int64Array

    @property
    def iou(self) -> np.ndarray:
        """(P,) float64 intersection over union of each pair, in (0, 1]."""
        return self.shared_px / (self.truth_px[self.nucleus] + self.found_px[self.segment] - self.shared_px)

    @property
    def matched(self) -> np.ndarray:
        """(P,) bool: the paper's match (§IV-C1), a segment that covers more than half of a nucleus."""
        return 2 * self.shared_px > self.truth_px[self.nucleus]

    @property
    def empty_score(self) -> float:
        """What a score is where its denominator is 0."""
        return 0.0 if len(self.truth_px) or len(self.found_px) else 1.0


def count_overlap(truth: np.ndarray, found: np.ndarray) -> Overlap:
    """Count the pixels that each nucleus shares with each segment.

    Args:
        truth: (H, W) integer labels of the nuclei, 0 = background; gaps are allowed.
        found: (H, W) integer labels of the segments, likewise.

    Raises:
        ValueError: the shapes differ.
    """
    if truth.shape != found.shape:
        raise ValueError(f"The labels must have one shape, found {truth.shape} and {found.shape}.")
    rows, columns = _in_reading_order(truth), _in_reading_order(found)
    ones = np.ones(rows.size, np.int64)
    counts = sparse.coo_array((ones, (rows, columns)), shape=(rows.max(initial=0) + 1, columns.max(initial=0) + 1))
    # The first row and column are the background.
    pairs = sparse.csr_array(counts)[1:, 1:].tocoo()
    return Overlap(
        truth_px=np.bincount(rows, minlength=1)[1:],
        found_px=np.bincount(columns, minlength=1)[1:],
        nucleus=pairs.row.astype(np.int64),
        segment=pairs.col.astype(np.int64),
        shared_px=pairs.data,
    )


def paper_scores(overlap: Overlap) -> tuple[float, float]:
    """IoU and F as the paper has them (§IV-C1): over the matches only, so that a nucleus without one costs nothing.

    Returns:
        Mean IoU of the matches, and F (eq. 13) of their pixels: shared ones are true positives, the segment's others
        false positives, the nucleus's others false negatives.
    """
    matched = overlap.matched
    if not matched.any():
        return overlap.empty_score, overlap.empty_score
    shared = overlap.shared_px[matched].sum()
    areas = overlap.truth_px[overlap.nucleus[matched]].sum() + overlap.found_px[overlap.segment[matched]].sum()
    return float(overlap.iou[matched].mean()), float(2 * shared / areas)


def dice(overlap: Overlap) -> float:
    """Dice coefficient of all foreground pixels, in [0, 1]."""
    areas = overlap.truth_px.sum() + overlap.found_px.sum()
    return float(2 * overlap.shared_px.sum() / areas) if areas else overlap.empty_score


def aggregated_jaccard(overlap: Overlap) -> float:
    """Aggregated Jaccard index (Kumar et al. 2017, algorithm 1), in [0, 1].

    Each nucleus takes the segment of the highest IoU, which several may share; of equals, the first in reading order.
    A segment that none takes adds its area to the union.
    """
    # Sorted by nucleus, then by IoU from high to low; lexsort is stable, so equals stay in reading order.
    order = np.lexsort((-overlap.iou, overlap.nucleus))
    _, first = np.unique(overlap.nucleus[order], return_index=True)
    best = order[first]
    taken = np.zeros(len(overlap.found_px), bool)
    taken[overlap.segment[best]] = True
    shared = overlap.shared_px[best].sum()
    union = overlap.truth_px.sum() + overlap.found_px[overlap.segment[best]].sum() - shared
    union += overlap.found_px[~taken].sum()
    return float(shared / union) if union else overlap.empty_score


def panoptic_quality(overlap: Overlap) -> float:
    """Panoptic quality (Kirillov et al. 2019, eq. 1) of one class, in [0, 1]: a match has an IoU above 0.5."""
    matches = overlap.iou > PANOPTIC_IOU
    objects = len(overlap.truth_px) + len(overlap.found_px)
    return float(2 * overlap.iou[matches].sum() / objects) if objects else overlap.empty_score


def _in_reading_order(labels: np.ndarray) -> Int64Array:
    """Flattened labels 1…N without gaps, by first pixel, so that no score depends on how objects were numbered."""
    flat = np.append(0, labels.ravel())
    _, first, inverse = np.unique(flat, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse][1:]
