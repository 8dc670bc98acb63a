import numpy as np
import pytest

from app.pipeline.nuclei.border import cut_by_more_than_half, drop_cut_nuclei
from app.pipeline.nuclei.measure import measure
from tests.drawing import disc

SIDES = {"left": (1, 0), "right": (-1, 0), "top": (0, 1), "bottom": (0, -1)}


def nuclei_of(*masks):
    labels = np.zeros(masks[0].shape, np.int32)
    for i, mask in enumerate(masks, start=1):
        labels[mask] = i
    return measure(labels)


def beside(side, inwards, size=81, radius=12):
    """A disc whose centre lies `inwards` px from one side of the tile; below 0 beyond it."""
    x, y = SIDES[side]
    middle = size // 2
    centre = [middle, middle]
    if x:
        centre[0] = inwards if x > 0 else size - 1 - inwards
    if y:
        centre[1] = inwards if y > 0 else size - 1 - inwards
    return disc((size, size), centre, radius)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("inwards", "cut"), [(-8, True), (-3, True), (3, False), (11, False), (30, False)])
def test_nucleus_is_cut_by_more_than_half_where_its_centre_lies_beyond_the_border(side, inwards, cut):
    assert cut_by_more_than_half(nuclei_of(beside(side, inwards))).tolist() == [cut]


def ellipse(centre, radii, size=81):
    y, x = np.indices((size, size))
    return ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 <= 1


@pytest.mark.parametrize(("centre", "cut"), [((40, 6), False), ((40, 4), False), ((40, -3), True)])
def test_long_nucleus_along_the_border_is_cut_where_its_centre_lies_beyond_it(centre, cut):
    assert cut_by_more_than_half(nuclei_of(ellipse(centre, (22, 9)))).tolist() == [cut]


@pytest.mark.parametrize("side", SIDES)
def test_nucleus_at_the_border_is_marked(side):
    nuclei = nuclei_of(beside(side, 5), disc((81, 81), (60, 20) if side != "top" else (60, 60), 6))
    assert nuclei.touches_border.tolist() == [True, False]


def test_only_the_nucleus_that_is_mostly_beyond_the_border_is_left_out():
    first, second, third = beside("left", -6), beside("right", 4), disc((81, 81), (40, 12), 10)
    kept = drop_cut_nuclei(nuclei_of(first, second, third))
    assert len(kept) == 2
    np.testing.assert_array_equal(kept.label_image == 1, second)
    np.testing.assert_array_equal(kept.label_image == 2, third)


def test_without_cut_nuclei_nothing_changes():
    nuclei = nuclei_of(beside("left", 30))
    assert drop_cut_nuclei(nuclei) is nuclei


def test_tile_without_nuclei_stays_so():
    empty = measure(np.zeros((20, 30), np.int32))
    assert len(drop_cut_nuclei(empty)) == 0
