"""Very large nuclei: single ones, lobes that touch, and crowds that are neither."""

import numpy as np
import pytest

from app.pipeline.measure.very_large import MIN_DIAMETER_UM, find_very_large
from app.pipeline.nuclei.measure import measure
from tests.drawing import disc
from tests.pipeline.measure.drawn_nuclei import nuclei_of

TILE = (300, 300)


def test_a_nucleus_is_very_large_from_the_limit_on():
    radius_px = MIN_DIAMETER_UM / 0.25 / 2
    large, small = disc(TILE, (80, 80), radius_px * 1.03), disc(TILE, (220, 220), radius_px * 0.97)
    found = find_very_large(nuclei_of(small, large), 0.25)
    assert [nucleus.members.tolist() for nucleus in found] == [[1]]
    assert found[0].diameter_um == pytest.approx(MIN_DIAMETER_UM * 1.03, rel=0.01)


@pytest.mark.parametrize("mpp", [0.25, 0.5])
def test_lobes_that_touch_are_one_nucleus_and_neighbours_with_a_gap_are_not(mpp):
    """Two lobes of 7 µm in diameter: together they have the area of one of 9.9 µm."""
    radius = 3.5 / mpp
    for gap_um, wanted in ((0, [[0, 1]]), (2, [])):
        second = 100 + 2 * radius + 1 + gap_um / mpp
        lobes = disc(TILE, (100, 100), radius), disc(TILE, (second, 100), radius)
        found = find_very_large(nuclei_of(*lobes), mpp)
        assert [sorted(nucleus.members.tolist()) for nucleus in found] == wanted


def test_nuclei_that_crowd_together_are_no_candidate():
    """Seven that touch, as in an island of erythropoiesis: each has others all round it."""
    at = [(150, 150), *((150 + 25 * np.cos(a), 150 + 25 * np.sin(a)) for a in np.arange(18) * np.pi / 9)]
    ring = [(150 + 60 * np.cos(a), 150 + 60 * np.sin(a)) for a in np.arange(20) * np.pi / 10]
    masks = [disc(TILE, centre, 12) for centre in (at[0], *ring)]
    masks += [disc(TILE, (150 + 30 * np.cos(a), 150 + 30 * np.sin(a)), 12) for a in np.arange(6) * np.pi / 3]
    large = disc(TILE, (150, 150), 12)
    assert large.sum() > 0
    assert all(len(nucleus.members) > 1 for nucleus in find_very_large(nuclei_of(*masks), 0.25))


def test_a_tile_without_nuclei_has_none():
    assert find_very_large(measure(np.zeros(TILE, np.int32)), 0.25) == []
