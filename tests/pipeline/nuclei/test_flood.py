import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.pipeline.nuclei.flood import DEPTH_STEPS, Relief, disc, find_peaks, flood
from app.pipeline.nuclei.network import in_reading_order, join_pieces

seeds = st.integers(0, 2**32 - 1)
few_levels = st.sampled_from([2, 5, 40])


def drawn_relief(seed, levels, shape=(11, 14)):
    """A random mask with a frame of background, and smooth depths: the fewer levels, the more of them are equal."""
    random = np.random.default_rng(seed)
    mask = np.pad((random.random(shape) < random.uniform(0.3, 1)).astype(np.uint8), 1)
    depth = cv2.GaussianBlur(random.random(mask.shape), (0, 0), 1)
    steps = np.rint((depth - depth.min()) / np.ptp(depth) * levels)
    return mask, (steps * mask).astype(np.float32)


def bottlenecks(mask, depth, peak):
    """The least depth on the best way from each pixel to a peak: the height at which a flood from there arrives."""
    found = np.full(mask.shape, -np.inf)
    for level in np.unique(depth[mask > 0]):
        _, parts = cv2.connectedComponents(((depth >= level) & (mask > 0)).astype(np.uint8), connectivity=4)
        at_peak = np.unique(parts[peak])
        found[np.isin(parts, at_peak[at_peak > 0])] = level
    return found


@given(seeds, few_levels, st.integers(1, 4))
def test_each_pixel_belongs_to_the_peak_whose_flood_reaches_it_first(seed, levels, distance_px):
    mask, depth = drawn_relief(seed, levels)
    relief = Relief.of(mask, depth)
    peaks = find_peaks(relief, 0, distance_px)
    is_peak = np.zeros(mask.shape, np.uint8)
    is_peak.ravel()[relief.places[peaks]] = 1
    n, numbers = cv2.connectedComponents(is_peak)
    found = relief.painted(flood(relief, peaks))
    floods = {found[numbers == i][0]: bottlenecks(mask, depth, numbers == i) for i in range(1, n)}
    # Each peak has a label of its own.
    assert all(np.unique(found[numbers == i]).size == 1 for i in range(1, n))
    assert sorted(floods) == list(range(1, n))
    first = np.max([*floods.values(), np.full(mask.shape, -np.inf)], axis=0)
    np.testing.assert_array_equal(found > 0, first > -np.inf)
    for label, arrives in floods.items():
        np.testing.assert_array_equal(arrives[found == label], first[found == label])
        assert cv2.connectedComponents((found == label).astype(np.uint8))[0] == 2


@given(seeds, few_levels, st.integers(1, 9), st.floats(0, 3))
def test_peaks_are_as_deep_as_all_in_the_disc_round_them(seed, levels, distance_px, min_depth):
    mask, depth = drawn_relief(seed, levels)
    relief = Relief.of(mask, depth)
    is_peak = (depth > min_depth) & (depth >= cv2.dilate(depth, disc(distance_px)))
    found = relief.places[find_peaks(relief, min_depth, distance_px)]
    np.testing.assert_array_equal(found, np.flatnonzero(is_peak))


@pytest.mark.parametrize("shape", [(30, 40), (300, 400)])
def test_plateau_is_one_peak(shape):
    mask = np.pad(np.ones(shape, np.uint8), 1)
    relief = Relief.of(mask, mask.astype(np.float32))
    peaks = find_peaks(relief, 0.5, 8)
    assert peaks.size == mask.sum()
    np.testing.assert_array_equal(relief.painted(flood(relief, peaks)), mask)


def test_depth_below_that_of_the_background_is_no_way_out():
    mask = np.pad(np.ones((3, 9), np.uint8), 1)
    depth = mask * np.linspace(-1, 1, 11, dtype=np.float32)
    relief = Relief.of(mask, depth)
    np.testing.assert_array_equal(relief.painted(flood(relief, find_peaks(relief, 0.5, 2))), mask)


def test_steps_that_are_too_small_are_no_hills():
    mask = np.pad(np.ones((1, 9), np.uint8), 1)
    depth = mask * np.float32(0.5)
    depth[1, 5] += 0.4 / DEPTH_STEPS
    relief = Relief.of(mask, depth)
    assert (relief.uphill == np.arange(9)).all()


def test_nothing_has_no_peak():
    relief = Relief.of(np.zeros((5, 5), np.uint8), np.zeros((5, 5), np.float32))
    labels = flood(relief, find_peaks(relief, 0, 3))
    assert not relief.painted(in_reading_order(join_pieces(labels, relief, 0.8))).any()


@given(seeds, few_levels, st.floats(0, 1))
def test_pieces_are_joined_over_high_saddles_only(seed, levels, saddle):
    mask, depth = drawn_relief(seed, levels)
    relief = Relief.of(mask, depth)
    pieces = flood(relief, find_peaks(relief, 0, 1))
    found, before = relief.painted(join_pieces(pieces, relief, saddle)), relief.painted(pieces)
    wanted = list(range(pieces.max(initial=0) + 1))
    top = [depth[before == i].max() if i else 0 for i in wanted]
    for (y, x), i in np.ndenumerate(before):
        for j, between in ((before[y - 1, x], depth[y - 1, x]), (before[y, x - 1], depth[y, x - 1])):
            if i and j and i != j and min(depth[y, x], between) >= np.float32(saddle) * min(top[i], top[j]):
                wanted = [wanted[j] if label == wanted[i] else label for label in wanted]
    np.testing.assert_array_equal(in_reading_order(found), in_reading_order(np.array(wanted, np.int32)[before]))


@given(seeds, st.integers(1, 12))
def test_reading_order_is_that_of_the_first_pixels(seed, min_area_px):
    labels = np.random.default_rng(seed).integers(0, 9, (8, 9), dtype=np.int32)
    found, wanted, number = in_reading_order(labels, min_area_px), np.zeros_like(labels), 0
    for label in dict.fromkeys(labels.ravel().tolist()):
        if label > 0 and (labels == label).sum() >= min_area_px:
            number += 1
            wanted[labels == label] = number
    np.testing.assert_array_equal(found, wanted)
