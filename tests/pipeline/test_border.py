import numpy as np
import pytest

from app.pipeline.border import Part, cut_by_more_than_half, keep_whole, merge
from app.pipeline.nuclei import measure
from app.pipeline.presets import DEFAULT
from app.pipeline.segment import segment, unmix
from tests.drawing import disc, draw_tile, grid_of_centres

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
    kept = keep_whole(nuclei_of(first, second, third))
    assert len(kept) == 2
    np.testing.assert_array_equal(kept.labels == 1, second)
    np.testing.assert_array_equal(kept.labels == 2, third)


def test_without_cut_nuclei_nothing_changes():
    nuclei = nuclei_of(beside("left", 30))
    assert keep_whole(nuclei) is nuclei


def test_tile_without_nuclei_stays_so():
    empty = measure(np.zeros((20, 30), np.int32))
    assert len(keep_whole(empty)) == 0
    assert len(merge([Part(empty, 0, 0)], (20, 30))) == 0


def quarters(pixels, overlap, estimate):
    height, width = pixels.shape[:2]
    tall, wide = (height + overlap) // 2, (width + overlap) // 2
    for y in (0, height - tall):
        for x in (0, width - wide):
            piece = np.ascontiguousarray(pixels[y : y + tall, x : x + wide])
            yield Part(segment(unmix(piece, DEFAULT.stain, estimate=estimate), DEFAULT), x, y)


def check_merged(pixels, overlap, tolerance):
    stains = unmix(pixels, DEFAULT.stain)
    whole = segment(stains, DEFAULT)
    merged = merge(list(quarters(pixels, overlap, stains.estimate)), pixels.shape[:2])
    assert abs(len(merged) - len(whole)) <= tolerance * len(whole)
    # No cell twice: every nucleus of the whole tile has at most one in the merged one, and the reverse.
    both = (whole.labels > 0) & (merged.labels > 0)
    pairs, shared = np.unique(np.stack([whole.labels[both], merged.labels[both]]), axis=1, return_counts=True)
    same = pairs[:, shared > 0.5 * np.minimum(whole.areas_px[pairs[0] - 1], merged.areas_px[pairs[1] - 1])]
    for partners, nuclei in zip(same, (whole, merged), strict=True):
        assert len(np.unique(partners)) >= (1 - tolerance) * len(nuclei)
        assert len(partners) - len(np.unique(partners)) <= tolerance * len(nuclei)
    return whole, merged


def test_drawn_tile_in_four_parts_has_the_same_nuclei():
    tile = draw_tile(grid_of_centres((400, 480)), shape=(400, 480))
    whole, merged = check_merged(tile, 80, 0)
    assert len(whole) == len(grid_of_centres((400, 480)))
    np.testing.assert_allclose(np.sort(merged.centroids, axis=0), np.sort(whole.centroids, axis=0), atol=0.5)


def test_real_tile_in_four_parts_has_the_same_nuclei(real_tile):
    check_merged(real_tile, 128, 0.01)


def test_nucleus_that_two_parts_hold_counts_once_and_where_it_is_whole():
    # Two parts of a 60 × 100 tile, columns 0-59 and 40-99; a nucleus about column 50 lies in both.
    mask = disc((60, 100), (50, 30), 8)
    left, right = measure(mask[:, :60].astype(np.int32)), measure(mask[:, 40:].astype(np.int32))
    merged = merge([Part(left, 0, 0), Part(right, 40, 0)], (60, 100))
    np.testing.assert_array_equal(merged.labels, mask)


def test_nucleus_that_an_inner_edge_cuts_is_left_to_the_neighbour():
    mask = disc((60, 100), (56, 30), 8)
    left, right = measure(mask[:, :60].astype(np.int32)), measure(mask[:, 40:].astype(np.int32))
    assert left.areas_px[0] < right.areas_px[0]
    merged = merge([Part(left, 0, 0), Part(right, 40, 0)], (60, 100))
    np.testing.assert_array_equal(merged.labels, mask)


def test_nucleus_at_the_outer_border_stays():
    mask = disc((60, 100), (0, 30), 8)
    merged = merge([Part(measure(mask[:, :60].astype(np.int32)), 0, 0)], (60, 100))
    np.testing.assert_array_equal(merged.labels, mask)
