"""Scores of detected and of segmented nuclei, as pure functions.

Detection compares points; segmentation compares label images, by one count of the pixels that they share. A score of a
segmentation is 1 if truth and prediction are both empty, and 0 if only one of them is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from app.pipeline.types import Int64Array

PANOPTIC_IOU = 0.5
"""Above this IoU, a segment matches at most one nucleus, and a nucleus at most one segment (Kirillov et al. 2019)."""


def matched_pairs(found: np.ndarray, truth: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Match points one to one within a radius, in as many pairs as possible.

    Args:
        found: (N, 2) float, coordinates of the points that were found.
        truth: (M, 2) float, coordinates of the true points.
        radius: largest distance of a match, in the unit of the coordinates.

    Returns:
        Two (P,) int64: the indices in `found` and in `truth` of each match.
    """
    if len(found) == 0 or len(truth) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    near = cdist(found, truth) <= radius
    rows, columns = linear_sum_assignment(near, maximize=True)
    matched = near[rows, columns]
    return rows[matched], columns[matched]


def match_points(found: np.ndarray, truth: np.ndarray, radius: float) -> int:
    """Return the number of `matched_pairs`."""
    return len(matched_pairs(found, truth, radius)[0])


def precision_recall_f1(matched: int, found: int, truth: int) -> tuple[float, float, float]:
    """Return precision, recall and F1 (eq. 13) from counts; each is 0 if its denominator is 0."""
    precision = matched / found if found else 0.0
    recall = matched / truth if truth else 0.0
    f1 = 2 * precision * recall / (precision + recall) if matched else 0.0
    return precision, recall, f1


@dataclass(frozen=True)
class Overlap:
    """The pixels that true nuclei and segments share; both are numbered in the reading order of their first pixel.

    Attributes:
        truth_px: (M,) int64, area of each nucleus, ≥ 1.
        found_px: (N,) int64, area of each segment, ≥ 1.
        nucleus: (P,) int64 in 0 … M − 1, the nucleus of each pair that shares a pixel, sorted.
        segment: (P,) int64 in 0 … N − 1, the segment of each pair, sorted within a nucleus.
        shared_px: (P,) int64, the number of pixels that the pair shares, ≥ 1.
    """

    truth_px: Int64Array
    found_px: Int64Array
    nucleus: Int64Array
    segment: Int64Array
    shared_px: Int64Array

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union of each pair, (P,) float64 in (0, 1]."""
        return self.shared_px / (self.truth_px[self.nucleus] + self.found_px[self.segment] - self.shared_px)

    @property
    def matched(self) -> np.ndarray:
        """Whether each segment covers more than half of the nucleus, the paper's match (§IV-C1), (P,) bool."""
        return 2 * self.shared_px > self.truth_px[self.nucleus]

    @property
    def empty_score(self) -> float:
        """Score whose denominator is 0: 1 if there are no nuclei and no segments, else 0."""
        return 0.0 if len(self.truth_px) or len(self.found_px) else 1.0


def count_overlap(truth: np.ndarray, found: np.ndarray) -> Overlap:
    """Count the pixels that each nucleus shares with each segment.

    Args:
        truth: (H, W) integer, label image of the nuclei, 0 = background; the labels may have gaps.
        found: (H, W) integer, label image of the segments, 0 = background; the labels may have gaps.

    Raises:
        ValueError: the shapes differ.
    """
    if truth.shape != found.shape:
        raise ValueError(f"The label images must have one shape, found {truth.shape} and {found.shape}.")
    rows, columns = _in_reading_order(truth), _in_reading_order(found)
    ones = np.ones(rows.size, np.int64)
    counts = sparse.coo_array((ones, (rows, columns)), shape=(rows.max(initial=0) + 1, columns.max(initial=0) + 1))
    # Row 0 and column 0 are the background.
    pairs = sparse.csr_array(counts)[1:, 1:].tocoo()
    return Overlap(
        truth_px=np.bincount(rows, minlength=1)[1:],
        found_px=np.bincount(columns, minlength=1)[1:],
        nucleus=pairs.row.astype(np.int64),
        segment=pairs.col.astype(np.int64),
        shared_px=pairs.data,
    )


def paper_scores(overlap: Overlap) -> tuple[float, float]:
    """Return IoU and F as the paper has them (§IV-C1): over matches only, so that a nucleus without one costs nothing.

    Returns:
        The mean IoU of the matches, and F (eq. 13) of their pixels: shared pixels are true positives, the other pixels
        of the segment false positives, and the other pixels of the nucleus false negatives.
    """
    matched = overlap.matched
    if not matched.any():
        return overlap.empty_score, overlap.empty_score
    shared = overlap.shared_px[matched].sum()
    areas = overlap.truth_px[overlap.nucleus[matched]].sum() + overlap.found_px[overlap.segment[matched]].sum()
    return float(overlap.iou[matched].mean()), float(2 * shared / areas)


def dice(overlap: Overlap) -> float:
    """Return the Dice coefficient of all foreground pixels, in [0, 1]."""
    areas = overlap.truth_px.sum() + overlap.found_px.sum()
    return float(2 * overlap.shared_px.sum() / areas) if areas else overlap.empty_score


def aggregated_jaccard(overlap: Overlap) -> float:
    """Return the aggregated Jaccard index (Kumar et al. 2017, algorithm 1), in [0, 1].

    Each nucleus takes the segment with the highest IoU, or the first of several in reading order; nuclei may share a
    segment. The area of a segment that no nucleus takes is added to the union.
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
    """Return the panoptic quality (Kirillov et al. 2019, eq. 1), in [0, 1]; a match has an IoU above 0.5."""
    matches = overlap.iou > PANOPTIC_IOU
    objects = len(overlap.truth_px) + len(overlap.found_px)
    return float(2 * overlap.iou[matches].sum() / objects) if objects else overlap.empty_score


def matched_segments(overlap: Overlap) -> Int64Array:
    """Return the segment that has an IoU above PANOPTIC_IOU with each nucleus, or −1 where none has, (M,) int64."""
    segments = np.full(len(overlap.truth_px), -1, np.int64)
    matches = overlap.iou > PANOPTIC_IOU
    segments[overlap.nucleus[matches]] = overlap.segment[matches]
    return segments


def _in_reading_order(label_image: np.ndarray) -> Int64Array:
    """Flatten a label image and number its objects 1 … N by their first pixel; no score depends on the labels."""
    flat = np.append(0, label_image.ravel())
    _, first, inverse = np.unique(flat, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse][1:]
