from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from training.metrics.nuclei import (
    aggregated_jaccard,
    count_overlap,
    dice,
    match_points,
    matched_pairs,
    panoptic_quality,
    paper_scores,
    precision_recall_f1,
)


def row(text):
    """One row of labels, "." for background."""
    return np.array([[0 if letter == "." else int(letter) for letter in text]])


def scores(truth, found):
    overlap = count_overlap(truth, found)
    return (*paper_scores(overlap), dice(overlap), aggregated_jaccard(overlap), panoptic_quality(overlap))


F = Fraction


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [
        # IoU, F, Dice, AJI, PQ
        pytest.param("1111..22", "1111..22", (1, 1, 1, 1, 1), id="perfect"),
        # 3 px shared, 1 of each alone; IoU 3/5 > 0.5, so PQ = 3/5 over one pair.
        pytest.param("1111.", ".1111", (F(3, 5), F(3, 4), F(3, 4), F(3, 5), F(3, 5)), id="shifted by 1 of 4"),
        # Exactly half of the nucleus is no match; AJI 2/6.
        pytest.param("1111..", "..1111", (0, 0, F(1, 2), F(1, 3), 0), id="shifted by 2 of 4"),
        pytest.param("11..", "..11", (0, 0, 0, 0, 0), id="apart"),
        # The 4-px part matches: IoU 4/6, F 2·4/(6 + 4). AJI: shared 4, union 6, and the other's 2. PQ: (4/6)/(1 + 1/2).
        pytest.param("111111", "111122", (F(2, 3), F(4, 5), 1, F(1, 2), F(4, 9)), id="split 4 + 2"),
        # Neither half is more than half. AJI: 3 of 6, and the other half unused.
        pytest.param("111111", "111222", (0, 0, 1, F(1, 3), 0), id="split in halves"),
        # Both nuclei match the one segment: IoU 4/6 and 2/6; F: TP 6, FP 2 + 4, FN 0. AJI: shared 4 + 2, union 6 + 6.
        # PQ: the first pair only, (4/6)/(1 + 1/2).
        pytest.param("111122", "111111", (F(1, 2), F(2, 3), 1, F(1, 2), F(4, 9)), id="merged 4 + 2"),
        # The surplus segment costs AJI its 2 px and PQ half an object; the paper's scores do not see it.
        pytest.param("1111....", "1111..22", (1, 1, F(4, 5), F(2, 3), F(2, 3)), id="one too many"),
        pytest.param("1111..22", "1111....", (1, 1, F(4, 5), F(2, 3), F(2, 3)), id="one missed"),
        # IoU of exactly 0.5 is no panoptic match, though it is one of the paper's.
        pytest.param("11..", "1111", (F(1, 2), F(2, 3), F(2, 3), F(1, 2), 0), id="twice too large"),
        # 1 and 2 share a segment: IoU 2/4, 2/4 and 1; F: TP 6, FP 2 + 2. AJI: union 4 + 4 + 2. PQ: 1/(1 + 1/2 + 2/2).
        pytest.param("112233", "111133", (F(2, 3), F(3, 4), 1, F(3, 5), F(2, 5)), id="two take one"),
        pytest.param("1111", "....", (0, 0, 0, 0, 0), id="empty prediction"),
        pytest.param("....", "1111", (0, 0, 0, 0, 0), id="empty truth"),
        pytest.param("....", "....", (1, 1, 1, 1, 1), id="both empty"),
    ],
)
def test_scores_that_can_be_derived_by_hand(truth, found, expected):
    assert scores(row(truth), row(found)) == pytest.approx(tuple(map(float, expected)))


@pytest.mark.parametrize("found", ["111222..", "222111.."])
def test_of_equal_segments_the_first_in_reading_order_is_taken(found):
    """Nucleus 1 has an IoU of 2/5 with both, nucleus 2 has 1/5 with the second; so none is left over."""
    assert aggregated_jaccard(count_overlap(row(".1111222"), row(found))) == pytest.approx(3 / (5 + 5))


def test_labels_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(3, 2\)"):
        count_overlap(np.zeros((2, 3), int), np.zeros((3, 2), int))


def test_tile_without_pixels_is_empty():
    assert scores(np.zeros((0, 5), int), np.zeros((0, 5), int)) == (1, 1, 1, 1, 1)


def labels(shape):
    return arrays(np.int32, shape, elements=st.integers(0, 5))


pairs = array_shapes(min_dims=2, max_dims=2, max_side=7).flatmap(lambda shape: st.tuples(labels(shape), labels(shape)))
numbers = st.lists(st.integers(1, 65_535), min_size=5, max_size=5, unique=True)


@given(pairs, numbers, numbers)
def test_numbering_of_the_objects_does_not_matter(pair, truth_numbers, found_numbers):
    truth, found = pair
    renumbered = np.array([0, *truth_numbers])[truth], np.array([0, *found_numbers])[found]
    assert scores(*renumbered) == pytest.approx(scores(truth, found))


@given(pairs)
def test_scores_lie_within_their_bounds(pair):
    truth, found = pair
    iou, f1, dice_score, aji, pq = scores(truth, found)
    for score in (iou, f1, dice_score, aji, pq):
        assert 0 <= score <= 1 + 1e-12
    # Kumar's intersection is part of the foreground's and its union contains the foreground's.
    assert aji <= dice_score / (2 - dice_score) + 1e-12


@given(pairs)
def test_foreground_is_scored_as_by_its_masks(pair):
    truth, found = pair[0] > 0, pair[1] > 0
    if truth.any() or found.any():
        wanted = 2 * (truth & found).sum() / (truth.sum() + found.sum())
        assert dice(count_overlap(*pair)) == pytest.approx(wanted)


@given(pairs)
def test_prediction_equal_to_the_truth_is_perfect(pair):
    assert scores(pair[0], pair[0]) == pytest.approx((1, 1, 1, 1, 1))


@given(pairs)
def test_dice_and_panoptic_quality_are_symmetric(pair):
    there, back = count_overlap(*pair), count_overlap(*pair[::-1])
    assert dice(there) == pytest.approx(dice(back))
    assert panoptic_quality(there) == pytest.approx(panoptic_quality(back))


@pytest.mark.parametrize(
    ("found", "truth", "radius", "matches"),
    [
        pytest.param([[0, 0]], [[6, 8]], 10, 1, id="at the radius"),
        pytest.param([[0, 0]], [[6, 8.001]], 10, 0, id="just outside"),
        pytest.param([[5, 0], [14, 0]], [[0, 0], [9, 0]], 6, 2, id="nearest first would lose one"),
        pytest.param([[0, 0], [1, 0], [2, 0]], [[1, 0]], 5, 1, id="one dot is found once"),
        pytest.param([[1, 0]], [[0, 0], [1, 0], [2, 0]], 5, 1, id="one find takes one dot"),
        pytest.param([[0, 0], [10, 0]], [[10, 0], [0, 0]], 1, 2, id="in another order"),
        pytest.param([[0, 0], [100, 100]], [[50, 50]], 10, 0, id="far away"),
        pytest.param(np.zeros((0, 2)), [[0, 0]], 10, 0, id="nothing found"),
        pytest.param([[0, 0]], np.zeros((0, 2)), 10, 0, id="nothing there"),
        pytest.param(np.zeros((0, 2)), np.zeros((0, 2)), 10, 0, id="nothing at all"),
    ],
)
def test_matches_within_a_radius(found, truth, radius, matches):
    found, truth = np.asarray(found, float), np.asarray(truth, float)
    assert match_points(found, truth, radius) == matches
    assert match_points(truth, found, radius) == matches


@pytest.mark.parametrize(
    ("counts", "scores"),
    [
        ((6, 8, 12), (0.75, 0.5, 0.6)),
        ((5, 5, 5), (1, 1, 1)),
        ((0, 4, 4), (0, 0, 0)),
        ((0, 0, 4), (0, 0, 0)),
        ((0, 4, 0), (0, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
    ],
)
def test_precision_recall_and_f1_of_counts(counts, scores):
    assert precision_recall_f1(*counts) == pytest.approx(scores)


def test_pairs_name_what_was_matched():
    found, truth = matched_pairs(np.array([[50.0, 50.0], [1.0, 0.0]]), np.array([[0.0, 0.0], [200.0, 0.0]]), 5)
    assert (found.tolist(), truth.tolist()) == ([1], [0])
