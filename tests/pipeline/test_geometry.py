import cv2
import numpy as np
import pytest
from shapely import Polygon

from app.pipeline.errors import TileTooLarge
from app.pipeline.geometry import Cells, PixelMap, rescale
from app.pipeline.nuclei.measure import measure
from tests.drawing import disc

NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def cells_of(label_image, upload):
    nuclei = measure(np.asarray(label_image, np.int32))
    return Cells(nuclei, np.full((len(nuclei), 2), 0.5, np.float32), upload)


def test_rescale_by_one_changes_nothing():
    assert rescale(NOISE, 1.0, max_pixels=1) is NOISE


@pytest.mark.parametrize(
    ("factor", "shape"), [(0.5, (20, 30, 3)), (2.0, (80, 120, 3)), (0.001, (1, 1, 3)), (1.5, (60, 90, 3))]
)
def test_rescale_gives_the_size_asked_for(factor, shape):
    assert rescale(NOISE, factor, max_pixels=10_000).shape == shape


@pytest.mark.parametrize("factor", [0.4, 0.5, 2.0, 3.7])
def test_rescale_keeps_a_plain_colour(factor):
    plain = np.full((30, 20, 3), (200, 100, 50), np.uint8)
    assert (rescale(plain, factor, max_pixels=10_000) == (200, 100, 50)).all()


def test_shrinking_averages_instead_of_skipping():
    stripes = np.zeros((40, 40, 3), np.uint8)
    stripes[:, ::2] = 200
    assert (rescale(stripes, 0.5, max_pixels=10_000) == 100).all()


def test_rescale_refuses_a_result_beyond_the_limit():
    assert rescale(NOISE, 2.0, max_pixels=9600).shape == (80, 120, 3)
    with pytest.raises(TileTooLarge, match="120 x 80"):
        rescale(NOISE, 2.0, max_pixels=9599)


def test_points_are_centres_of_pixels_and_edges_lie_between_them():
    to_upload = PixelMap.onto((120, 90), (30, 60))
    # A pixel becomes two along x and three along y: its centre lies between them, and its edges stay edges.
    np.testing.assert_array_equal(to_upload.points(np.array([[0, 0], [59, 29]])), [[0.5, 1], [118.5, 88]])
    np.testing.assert_array_equal(to_upload.edges(np.array([[0, 0], [60, 30]])), [[0, 0], [120, 90]])
    np.testing.assert_array_equal(to_upload.boxes(np.array([[1, 2, 60, 30]])), [[2, 6, 120, 90]])
    np.testing.assert_array_equal(to_upload.areas(np.array([5])), [30])


def test_origin_moves_everything_but_areas():
    there = PixelMap.onto((10, 10), (10, 10), (100, 200))
    np.testing.assert_array_equal(there.points(np.array([1, 2])), [101, 202])
    np.testing.assert_array_equal(there.edges(np.array([1, 2])), [101, 202])
    np.testing.assert_array_equal(there.boxes(np.array([[1, 2, 3, 4]])), [[101, 202, 103, 204]])
    np.testing.assert_array_equal(there.areas(np.array([7])), [7])


@pytest.mark.parametrize("upload", [(80, 50), (160, 100), (40, 25), (93, 41)])
def test_every_outline_of_a_cell_lies_where_its_box_lies(upload):
    label_image = disc((50, 80), (30, 22), 12) + 2 * disc((50, 80), (60, 30), 9)
    cells = cells_of(label_image, upload)
    scale = np.divide(upload, (80, 50))
    assert len(cells) == len(cells.contours) == len(cells.polygons) == 2
    for i in range(2):
        x0, y0, x1, y1 = cells.bboxes[i]
        outer = cells.polygons[i][0]
        np.testing.assert_allclose([*outer.min(axis=0), *outer.max(axis=0)], [x0, y0, x1, y1])
        # A contour lies half an analysed pixel within the box, and names pixels by their centres.
        low, high = cells.contours[i].min(axis=0) + 0.5, cells.contours[i].max(axis=0) + 0.5
        np.testing.assert_allclose([*(low - scale / 2), *(high + scale / 2)], [x0, y0, x1, y1])
        assert Polygon(outer).area == pytest.approx(cells.areas_px[i] - 0.5 * scale.prod())
        np.testing.assert_allclose(Polygon(outer).centroid.coords[0], cells.centroids[i] + 0.5, atol=0.01 * scale.max())


def test_label_image_of_a_finer_upload_repeats_pixels():
    label_image = np.array([[0, 1, 1], [2, 0, 1]])
    cells = cells_of(label_image, (6, 4))
    np.testing.assert_array_equal(cells.label_image, label_image.repeat(2, axis=0).repeat(2, axis=1))
    np.testing.assert_array_equal(cells_of(label_image, (3, 2)).label_image, label_image)


@pytest.mark.parametrize("upload", [(4, 4), (10, 10), (40, 40)])
def test_contours_stay_within_the_upload(upload):
    cells = cells_of(np.ones((10, 10)), upload)
    assert cells.contours[0].min() >= 0
    assert cells.contours[0].max() <= upload[0] - 1


def test_tile_without_cells_has_empty_arrays():
    cells = cells_of(np.zeros((10, 12)), (24, 20))
    assert (len(cells), cells.contours, cells.polygons) == (0, [], [])
    assert (cells.centroids.shape, cells.bboxes.shape, cells.areas_px.shape) == ((0, 2), (0, 4), (0,))
    assert cells.label_image.shape == (20, 24)


def test_lack_of_memory_for_outlines_is_a_memory_error(monkeypatch):
    def run_out(*_, **__):
        error = cv2.error("no memory")
        error.code = cv2.Error.STS_NO_MEM
        raise error

    monkeypatch.setattr(cv2, "findContours", run_out)
    with pytest.raises(MemoryError):
        _ = cells_of(np.ones((4, 4)), (4, 4)).contours
