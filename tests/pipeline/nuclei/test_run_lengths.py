import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from app.pipeline.nuclei.run_lengths import connect, encode_ranks, fill_holes, hull_areas, ranges

EIGHT, FOUR = np.ones((3, 3)), ndimage.generate_binary_structure(2, 1)


@st.composite
def pictures(draw):
    """Ranks 0–3, blobs of several sizes and noise, 0 on the frame."""
    shape = draw(st.integers(3, 40)), draw(st.integers(3, 40))
    noise = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).random(shape)
    smooth = ndimage.gaussian_filter(noise, draw(st.floats(0, 3)))
    ranks = np.digitize(smooth, np.quantile(smooth, [0.3, 0.6, 0.8])).astype(np.uint8)
    ranks[[0, -1]] = ranks[:, [0, -1]] = 0
    return ranks


def test_ranges_by_hand():
    assert ranges(np.array([3, 9, 5]), np.array([5, 9, 8])).tolist() == [3, 4, 5, 6, 7]


@settings(max_examples=60, derandomize=True, deadline=None)
@given(ranks=pictures())
def test_runs_hold_the_pixels_of_every_level(ranks):
    rle = encode_ranks(ranks)
    stack = np.zeros((4, *ranks.shape), bool)
    stack.ravel()[rle.places()] = True
    for level in range(1, 4):
        np.testing.assert_array_equal(stack[level], ranks >= level)
    assert (rle.starts[1:] > rle.ends[:-1]).all()


@settings(max_examples=60, derandomize=True, deadline=None)
@given(ranks=pictures(), diagonal=st.booleans())
def test_components_are_those_of_each_level(ranks, diagonal):
    rle = encode_ranks(ranks)
    found = connect(rle, ranks.shape[1], diagonal=diagonal)
    ours = np.zeros((4, *ranks.shape), int)
    ours.ravel()[rle.places()] = np.repeat(found.of_run + 1, rle.lengths)
    number = 0
    for level in range(1, 4):
        labels, n = ndimage.label(ranks >= level, EIGHT if diagonal else FOUR)
        pairs = set(zip(ours[level].ravel().tolist(), labels.ravel().tolist(), strict=True)) - {(0, 0)}
        assert len(pairs) == n
        # In the order of the first pixel, as scipy numbers them.
        assert sorted(pairs) == [(number + i, i) for i in range(1, n + 1)]
        for i in range(1, n + 1):
            mask = labels == i
            # A hole is connected by sides where the object is by corners, and the other way round.
            _, gaps = ndimage.label(np.pad(~mask, 1, constant_values=True), FOUR if diagonal else EIGHT)
            if diagonal:
                assert found.holes[number + i - 1] == gaps - 1
        number += n
    assert found.number == number


@settings(max_examples=60, derandomize=True, deadline=None)
@given(ranks=pictures())
def test_hulls_are_those_of_opencv(ranks):
    rle = encode_ranks(ranks)
    found = connect(rle, ranks.shape[1], diagonal=True)
    order = np.argsort(found.of_run, kind="stable")
    rows, columns = np.divmod(rle.starts[order] % ranks.size, ranks.shape[1])
    areas = hull_areas(found.of_run[order], rows, columns, columns + rle.lengths[order], found.number)
    for i in range(found.number):
        y, x = np.divmod(rle[found.of_run == i].places() % ranks.size, ranks.shape[1])
        hull = cv2.convexHull(np.column_stack([x, y]).astype(np.int32))
        assert areas[i] == pytest.approx(cv2.contourArea(hull))


@settings(max_examples=60, derandomize=True, deadline=None)
@given(ranks=pictures(), max_hole_px=st.integers(0, 30))
def test_small_holes_are_filled_at_each_level(ranks, max_hole_px):
    filled = fill_holes(ranks, max_hole_px)
    for level in range(1, ranks.max() + 1):
        mask = ranks >= level
        gaps, _ = ndimage.label(~mask, FOUR)
        small = np.bincount(gaps.ravel()) <= max_hole_px
        small[[0, gaps[0, 0]]] = False
        np.testing.assert_array_equal(filled >= level, mask | small[gaps])
