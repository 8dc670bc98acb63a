import io
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from app.batch.plan.plan import Region
from app.batch.plan.tissue import Overview
from app.batch.read.image_slide import ImageSlide
from app.batch.write.pictures import (
    REGION_COLOR,
    SHOWN_CELLS,
    SHOWN_PX,
    TISSUE_COLOR,
    VIEW_PX,
    cell_pictures,
    overview_jpg,
    slide_pictures,
    tissue_png,
)
from app.pipeline.tissue.classes import BACKGROUND, CLASS_COLORS, FAT, HAEMATOPOIETIC, RED_CELLS
from tests.batch.cells import cells_at
from tests.batch.one_slide import PLAN

HALF = SHOWN_PX // 2
WIDTH, HEIGHT = 300, 200


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture
def plan():
    return PLAN.model_copy(update={"width": WIDTH, "height": HEIGHT})


def test_cell_is_shown_as_it_looks_in_the_slide(pixels, plan):
    shown = cell_pictures(ImageSlide(pixels), plan, cells_at([(100, 90)], [2]), 2)
    np.testing.assert_array_equal(shown[0], pixels[90 - HALF : 90 + HALF, 100 - HALF : 100 + HALF])


@pytest.mark.parametrize(("x", "y"), [(0, 0), (WIDTH - 1, HEIGHT - 1), (4, 150), (150, HEIGHT - 3)])
def test_beyond_the_slide_it_is_white(pixels, plan, x, y):
    padded = np.pad(pixels, ((HALF, HALF), (HALF, HALF), (0, 0)), constant_values=255)
    shown = cell_pictures(ImageSlide(pixels), plan, cells_at([(x, y)], [0]), 0)
    np.testing.assert_array_equal(shown[0], padded[y : y + SHOWN_PX, x : x + SHOWN_PX])


@pytest.mark.parametrize("downsample", [0.02, 0.3, 1.3, 4.0])
def test_cells_are_shown_at_the_analysed_scale(pixels, plan, downsample):
    scaled = plan.model_copy(update={"downsample": downsample})
    corners = [(0, 0), (WIDTH - 1, 0), (0, HEIGHT - 1), (WIDTH - 1, HEIGHT - 1), (150, 100)]
    assert cell_pictures(ImageSlide(pixels), scaled, cells_at(corners, [1] * 5), 1).shape == (5, SHOWN_PX, SHOWN_PX, 3)


def test_some_of_many_are_shown_and_no_outlier_or_other_cluster(pixels, plan):
    places = np.column_stack([np.linspace(30, 260, 100), np.full(100, 100)])
    cells = cells_at(places, np.arange(100) % 2, np.arange(100) >= 90)
    slide = ImageSlide(pixels)
    assert len(cell_pictures(slide, plan, cells, 0)) == SHOWN_CELLS
    assert cell_pictures(slide, plan, cells, 3).shape == (0, SHOWN_PX, SHOWN_PX, 3)
    first_and_last = cell_pictures(slide, plan, cells_at(places[[0, 88]], [0, 0]), 0)
    np.testing.assert_array_equal(cell_pictures(slide, plan, cells, 0)[[0, -1]], first_and_last)


def test_small_slide_is_pictured_from_its_own_pixels_and_a_large_one_from_its_overview(pixels, plan):
    small = Overview(np.zeros((7, 10, 3), np.uint8), np.ones((7, 10), bool), 32, WIDTH, HEIGHT)
    maps = np.ones((2, 1, 1), np.float32)
    pictures = slide_pictures(ImageSlide(pixels), plan, small, cells_at([(100, 90)], [1]), maps)
    assert Image.open(io.BytesIO(pictures.density[0])).size == (WIDTH, HEIGHT)
    assert (len(pictures.density), [len(shown) for shown in pictures.cells]) == (2, [0, 1])
    large = replace(small, pixels=np.zeros((100, VIEW_PX, 3), np.uint8), tissue=np.ones((100, VIEW_PX), bool))
    pictures = slide_pictures(ImageSlide(pixels), plan, large, cells_at([(100, 90)], [1]), maps)
    assert Image.open(io.BytesIO(pictures.density[0])).size == (VIEW_PX, 100)


def test_picture_of_the_tissue_has_each_kind_at_its_place_and_a_legend():
    classes = np.array([[FAT, HAEMATOPOIETIC], [BACKGROUND, RED_CELLS]], np.uint8)
    view = np.full((200, 400, 3), 220, np.uint8)
    shown = np.array(Image.open(io.BytesIO(tissue_png(classes, view))), int)
    assert shown.shape[1] == 400
    assert shown.shape[0] > 200 + 4 * 16  # below the slide there is a line for each kind of tissue
    places = {"fat": (50, 100), "haematopoietic": (50, 300), "red_cells": (150, 300)}
    for name, (y, x) in places.items():
        assert np.abs(shown[y, x] - CLASS_COLORS[name]).max() < 60
        assert (shown[200:] == CLASS_COLORS[name]).all(axis=2).sum() > 100
    assert shown[150, 100].std() == 0
    assert shown[150, 100, 0] > 200


# Level 0 is 2000 x 1600 px; the right half is one region, with a hole.
RIGHT = Region(
    name="right",
    wkt="POLYGON((1000 0, 1960 0, 1960 1560, 1000 1560, 1000 0), (1400 400, 1400 800, 1700 800, 1400 400))",
)


def drawn(regions=()) -> np.ndarray:
    tissue = np.zeros((8, 10), bool)
    tissue[2:6, 1:3] = True
    jpg = overview_jpg(np.full((400, 500, 3), 240, np.uint8), tissue, regions, 4.0)
    return cv2.imdecode(np.frombuffer(jpg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)


def box_of(shown, color) -> tuple[int, ...]:
    """x0, y0, x1, y1 of all px of about a colour."""
    y, x = np.nonzero(np.abs(shown - color).max(axis=2) < 60)
    return tuple(map(int, (x.min(), y.min(), x.max(), y.max())))


def test_outline_of_tissue_lies_round_it():
    # An eighth of the picture's height and a tenth of its width each.
    np.testing.assert_allclose(box_of(drawn(), TISSUE_COLOR), (50, 100, 150, 300), atol=3)


def test_region_and_its_hole_are_outlined_where_they_are():
    shown = drawn([RIGHT])
    np.testing.assert_allclose(box_of(shown, REGION_COLOR), (250, 0, 490, 390), atol=4)
    assert np.abs(shown[150, 350] - REGION_COLOR).max() < 60
    assert (drawn()[150, 350] > 200).all()


def test_the_given_pixels_stay_as_they_are():
    pixels = np.full((400, 500, 3), 240, np.uint8)
    overview_jpg(pixels, np.ones((8, 10), bool), [RIGHT], 4.0)
    assert (pixels == 240).all()


def test_region_of_several_parts_is_drawn():
    two = "MULTIPOLYGON(((0 0, 400 0, 400 400, 0 400, 0 0)), ((1000 800, 1400 800, 1400 1200, 1000 1200, 1000 800)))"
    np.testing.assert_allclose(box_of(drawn([Region(name="two", wkt=two)]), REGION_COLOR), (0, 0, 350, 300), atol=4)
