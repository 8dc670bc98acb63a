import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.batch.analyse.seams import BAND_PX, keep_once

EDGE, SIDE = 50, 3
APART = 7.0
"""Px between the centres of the two smallest nuclei that lie side by side."""
ONE = np.zeros((1, 2))


def tiles_of(points, jitter, downsample=1.0):
    """What each of 3 x 3 tiles sees of some points, all in px of the analysed scale: places, depths, which points."""
    found = []
    for number in range(SIDE**2):
        first = EDGE * np.array([number % SIDE, number // SIDE])
        at = points + jitter[number]
        low = np.where(first > 0, at - first, np.inf)
        high = np.where(first + EDGE < SIDE * EDGE, first + EDGE - at, np.inf)
        depth = np.minimum(low, high).min(axis=1)
        seen = depth >= -BAND_PX
        found.append((at[seen] * downsample, depth[seen], np.flatnonzero(seen)))
    return found


def kept_points(tiles, downsample=1.0):
    places, depths, numbers = zip(*tiles, strict=True)
    kept = keep_once(places, depths, downsample)
    return sorted(np.concatenate([which[rows] for which, rows in zip(numbers, kept, strict=True)]).tolist())


def spread(points):
    """Those that lie as far apart as nuclei do, the first of each."""
    chosen = np.zeros((0, 2))
    for point in points:
        if not len(chosen) or np.hypot(*(chosen - point).T).min() >= APART:
            chosen = np.vstack([chosen, point])
    return chosen


# Most lie near an edge, and many near a corner, where it is hard.
near_edges = st.one_of(st.floats(0.1, SIDE * EDGE - 0.1), *[st.floats(edge - 5, edge + 5) for edge in (EDGE, 2 * EDGE)])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(near_edges, near_edges), max_size=60), st.integers(0, 2**32 - 1), st.sampled_from([0.3, 1, 4])
)
def test_every_cell_is_kept_exactly_once_wherever_tiles_meet(points, seed, downsample):
    points = spread(np.array(points).reshape(-1, 2))
    jitter = np.random.default_rng(seed).uniform(-0.7, 0.7, (SIDE**2, len(points), 2))
    assert kept_points(tiles_of(points, jitter, downsample), downsample) == list(range(len(points)))


@pytest.mark.parametrize("away", [0, 0.5, BAND_PX - 0.1, BAND_PX, BAND_PX + 0.2])
def test_cell_at_a_corner_of_four_tiles_is_kept_once_however_they_round(away):
    rng = np.random.default_rng(0)
    point = np.array([[EDGE - away, EDGE - away]])
    for _ in range(200):
        assert kept_points(tiles_of(point, rng.uniform(-1, 1, (SIDE**2, 1, 2)))) == [0]


def test_cells_of_one_tile_never_drop_each_other():
    crowd = np.random.default_rng(0).uniform(0, 2, (20, 2))
    assert all(keep_once([crowd], [np.linspace(0, 2, 20)], 1.0)[0])


def test_deeper_one_of_two_is_kept():
    kept = keep_once([ONE, ONE + 0.5], [np.array([0.2]), np.array([0.3])], 1.0)
    assert [rows.tolist() for rows in kept] == [[False], [True]]


def test_cell_that_only_the_tile_beyond_whose_edge_it_lies_has_is_dropped():
    assert keep_once([ONE, np.zeros((0, 2))], [np.array([-0.5]), np.zeros(0)], 1.0)[0].tolist() == [False]


def test_cell_just_beyond_both_edges_is_kept_once():
    kept = keep_once([ONE, ONE], [np.array([-0.5]), np.array([-0.5])], 1.0)
    assert [rows.tolist() for rows in kept] == [[True], [False]]


def test_no_tiles_have_no_cells():
    assert keep_once([], [], 1.0) == []
    assert [len(rows) for rows in keep_once([np.zeros((0, 2))] * 2, [np.zeros(0)] * 2, 1.0)] == [0, 0]
