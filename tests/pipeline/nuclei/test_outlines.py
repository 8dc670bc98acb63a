import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from shapely import Polygon, STRtree, contains_xy
from skimage.measure import label

from app.pipeline.nuclei.measure import measure
from app.pipeline.nuclei.outlines import contours, polygons
from app.pipeline.nuclei.segment import segment
from app.pipeline.presets import DEFAULT, PRESETS
from app.pipeline.stain.unmix import unmix
from tests.drawing import disc, discs, draw_tile, grid_of_centres

SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12))


@st.composite
def pictures(draw):
    """Nuclei of every shape that hangs together: with holes, by corners, at the border, touching, within each other."""
    values = draw(arrays(np.int32, SHAPES, elements=st.integers(0, 2)))
    return label(values, connectivity=2).astype(np.int32)


def rings_of(labels):
    return polygons(measure(np.asarray(labels, np.int32)))


def signed_area(ring):
    """The shoelace formula: positive is counter-clockwise where y points up (RFC 7946 §3.1.6)."""
    x, y = ring.T
    return (x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2


def polygons_of(labels):
    return [Polygon(outer, holes) for outer, *holes in rings_of(labels)]


def area_with_cut_corners(inside):
    """Between four pixels' centres: an eighth for one, three quarters for two across, seven eighths for three."""
    corners = np.lib.stride_tricks.sliding_window_view(np.pad(inside, 1), (2, 2)).reshape(-1, 4)
    across = (corners[:, 0] == corners[:, 3]) & (corners[:, 1] == corners[:, 2])
    count = corners.sum(axis=1)
    return np.array([0, 1 / 8, 1 / 2, 7 / 8, 1])[count].sum() + np.sum((count == 2) & across) / 4


def crossings(labels):
    """Places where two nuclei both hang together by one corner."""
    a, b, c, d = labels[:-1, :-1], labels[:-1, 1:], labels[1:, :-1], labels[1:, 1:]
    return int(np.sum((a == d) & (b == c) & (a != b) & (a > 0) & (b > 0)))


@given(pictures())
def test_rings_are_closed_and_the_outer_one_runs_against_the_holes(labels):
    for outer, *holes in rings_of(labels):
        assert all(len(ring) >= 5 and (ring[0] == ring[-1]).all() for ring in (outer, *holes))
        assert signed_area(outer) > 0
        assert all(signed_area(hole) < 0 for hole in holes)


@given(pictures())
def test_every_nucleus_is_a_valid_polygon_of_its_pixels_but_for_cut_corners(labels):
    for i, polygon in enumerate(polygons_of(labels), start=1):
        assert polygon.is_valid
        assert polygon.area == area_with_cut_corners(labels == i)


@given(pictures())
def test_pixels_of_a_nucleus_are_those_whose_centre_its_polygon_holds(labels):
    y, x = np.indices(labels.shape) + 0.5
    for i, polygon in enumerate(polygons_of(labels), start=1):
        np.testing.assert_array_equal(contains_xy(polygon, x, y), labels == i)


@given(pictures())
def test_polygons_overlap_only_where_two_nuclei_cross(labels):
    polygons = polygons_of(labels)
    overlap = sum(a.intersection(b).area for i, a in enumerate(polygons) for b in polygons[:i])
    assert overlap == 0.5 * crossings(labels)


@given(pictures())
def test_no_corner_lies_on_a_line_between_others(labels):
    for ring in (ring for nucleus in rings_of(labels) for ring in nucleus):
        steps = np.diff(ring, axis=0)
        following = np.roll(steps, -1, axis=0)
        assert (steps[:, 0] * following[:, 1] != steps[:, 1] * following[:, 0]).all()


@settings(max_examples=50)
@given(arrays(bool, SHAPES))
def test_nucleus_of_whole_sides_without_holes_loses_half_a_pixel(stained):
    found, n = ndimage.label(stained)
    for i in range(1, n + 1):
        filled = ndimage.binary_fill_holes(found == i)
        ((outer,),) = rings_of(filled)
        assert signed_area(outer) == filled.sum() - 0.5


def test_single_pixel_is_a_diamond_round_its_centre():
    labels = np.zeros((4, 5), int)
    labels[2, 3] = 1
    ((ring,),) = rings_of(labels)
    np.testing.assert_array_equal(ring, [[3.5, 2], [4, 2.5], [3.5, 3], [3, 2.5], [3.5, 2]])
    assert signed_area(ring) == 0.5


def test_nucleus_that_fills_the_tile_ends_at_its_border():
    ((ring,),) = rings_of(np.ones((3, 4)))
    assert (ring.min(axis=0) == 0).all()
    np.testing.assert_array_equal(ring.max(axis=0), [4, 3])
    assert signed_area(ring) == 3 * 4 - 0.5


def test_pixels_that_share_a_corner_are_one_polygon():
    (outline,) = rings_of(np.eye(3))
    assert len(outline) == 1


def test_holes_come_after_the_outer_ring():
    labels = np.ones((5, 9), int)
    labels[2, [2, 4, 6]] = 0
    ((outer, *holes),) = rings_of(labels)
    assert signed_area(outer) == 5 * 9 - 0.5
    # The corners of a hole are cut too, from the other side.
    assert [signed_area(hole) for hole in holes] == [-0.5] * 3


def test_nucleus_within_the_hole_of_another_is_its_own():
    labels = np.ones((7, 7), int)
    labels[2:5, 2:5] = 0
    labels[3, 3] = 2
    around, within = rings_of(labels)
    assert (len(around), len(within)) == (2, 1)


def test_each_piece_of_what_is_not_in_one_has_an_outer_ring():
    (outline,) = rings_of([[1, 0, 1]])
    assert [signed_area(ring) for ring in outline] == [0.5, 0.5]


def test_tile_without_nuclei_has_no_rings():
    assert rings_of(np.zeros((3, 4))) == []


def test_order_is_that_of_the_nuclei():
    labels = np.zeros((40, 80), int)
    labels[disc((40, 80), (60, 15), 8)] = 2
    labels[disc((40, 80), (20, 25), 12)] = 1
    assert [len(outline) for outline in rings_of(labels)] == [1, 1]
    np.testing.assert_allclose([Polygon(outline[0]).centroid.x for outline in rings_of(labels)], [20.5, 60.5])


@pytest.mark.parametrize("preset", PRESETS)
def test_close_nuclei_of_a_drawn_tile_have_polygons_that_do_not_overlap(preset):
    params = PRESETS[preset]
    centres = grid_of_centres()
    centres = np.concatenate([centres, centres + np.array([19, 0])])
    check_segmented(segment(unmix(draw_tile(centres), params.stain), params))


def test_nuclei_of_a_real_tile_have_polygons_that_do_not_overlap(real_tile):
    check_segmented(segment(unmix(real_tile, DEFAULT.stain), DEFAULT))


def check_segmented(nuclei):
    """Segmented nuclei are in one piece without holes, hang together by whole sides, and do not overlap."""
    found = [Polygon(outer, holes) for outer, *holes in polygons(nuclei)]
    assert len(found) >= 10
    assert all(polygon.is_valid for polygon in found)
    np.testing.assert_array_equal([polygon.area for polygon in found], nuclei.areas_px - 0.5)
    pairs = STRtree(found).query(found, predicate="overlaps")
    assert pairs.size == 0


def polygon_area(outline):
    """Signed by direction: positive is clockwise on the screen, where y points down."""
    x, y = outline.astype(float).T
    return 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def test_contour_lies_on_its_nucleus_and_encloses_its_area():
    stained = discs((120, 160), [(20, 20), (80, 60), (130, 100), (159, 30)], 15)
    nuclei = measure(label(stained, connectivity=2).astype(np.int32))
    outlines = contours(nuclei)
    assert len(outlines) == len(nuclei) == 4
    for i, outline in enumerate(outlines, start=1):
        assert (nuclei.label_image[outline[:, 1], outline[:, 0]] == i).all()
        # Vertices are pixel centres: the polygon lacks half the outline's length in area, less one pixel (Pick).
        border = cv2.arcLength(outline.reshape(-1, 1, 2), closed=True)
        area = abs(polygon_area(outline))
        assert area < nuclei.areas_px[i - 1] <= area + border / 2 + 1
        assert len(outline) >= 3


def test_contours_run_clockwise_on_the_screen():
    (outline,) = contours(measure(disc((60, 60), (30, 30), 15).astype(np.int32)))
    assert polygon_area(outline) > 0


def test_contour_of_one_pixel_is_one_point():
    labels = np.zeros((3, 3), np.int32)
    labels[1, 2] = 1
    assert [outline.tolist() for outline in contours(measure(labels))] == [[[2, 1]]]
