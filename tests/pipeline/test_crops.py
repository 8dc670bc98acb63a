import numpy as np
import pytest

from app.pipeline.crops import crop_nuclei, from_network, to_network
from app.pipeline.nuclei.measure import measure
from tests.drawing import disc


def crop_one(inside, pixels):
    return crop_nuclei(pixels, measure(inside.astype(np.int32)))[0]


def box_of(crop):
    """x0, y0, x1, y1 of what is not white."""
    y, x = np.nonzero((crop < 255).any(axis=2))
    return x.min(), y.min(), x.max() + 1, y.max() + 1


def rectangle(height, width, shape=(90, 300), at=(20, 30)):
    inside = np.zeros(shape, bool)
    inside[at[0] : at[0] + height, at[1] : at[1] + width] = True
    return inside


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (33, 33, (32, 32)),
        (40, 20, (32, 16)),
        (20, 40, (16, 32)),
        (64, 64, (32, 32)),
        (48, 36, (32, 24)),
        (2, 200, (1, 32)),
    ],
)
def test_larger_nucleus_is_scaled_to_32_px_on_its_longer_edge(height, width, expected):
    inside = rectangle(height, width)
    x0, y0, x1, y1 = box_of(crop_one(inside, np.full((*inside.shape, 3), 50, np.uint8)))
    assert (y1 - y0, x1 - x0) == expected


@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 10), (11, 17), (1, 1), (31, 2)])
def test_smaller_nucleus_keeps_its_size_and_every_pixel(height, width):
    pixels = np.random.default_rng(0).integers(0, 255, (90, 300, 3), dtype=np.uint8)
    crop = crop_one(rectangle(height, width), pixels)
    x0, y0, x1, y1 = box_of(crop)
    np.testing.assert_array_equal(crop[y0:y1, x0:x1], pixels[20 : 20 + height, 30 : 30 + width])


@pytest.mark.parametrize(("height", "width"), [(32, 32), (10, 10), (11, 17), (1, 1), (40, 21)])
def test_nucleus_is_centred(height, width):
    x0, y0, x1, y1 = box_of(crop_one(rectangle(height, width), np.full((90, 300, 3), 50, np.uint8)))
    assert abs(x0 - (32 - x1)) <= 1
    assert abs(y0 - (32 - y1)) <= 1


def test_everything_outside_the_nucleus_is_white():
    inside = disc((60, 60), (30, 30), 12)
    crop = crop_one(inside, np.full((60, 60, 3), 50, np.uint8))
    assert (crop == 50).all(axis=2).sum() == inside.sum()
    assert ((crop == 50) | (crop == 255)).all()


def test_neighbour_inside_the_box_is_left_out():
    labels = np.zeros((40, 40), np.int32)
    labels[5:25, 5:10] = 1
    labels[20:25, 5:25] = 1
    labels[8:15, 14:22] = 2
    pixels = np.full((40, 40, 3), 50, np.uint8)
    pixels[labels == 2] = 90
    first, second = crop_nuclei(pixels, measure(labels))
    assert (first != 90).all()
    assert (second != 50).all()
    assert (second == 90).all(axis=2).sum() == 56


def test_colours_are_those_of_the_tile_that_is_given():
    inside = rectangle(20, 20)
    pixels = np.full((90, 300, 3), (120, 60, 150), np.uint8)
    crop = crop_one(inside, pixels)
    assert (crop[16, 16] == (120, 60, 150)).all()


def test_crops_keep_the_order_of_the_nuclei():
    labels = np.zeros((40, 200), np.int32)
    pixels = np.full((40, 200, 3), 255, np.uint8)
    for i in range(6):
        labels[5:20, 30 * i : 30 * i + 15] = i + 1
        pixels[:, 30 * i : 30 * i + 15] = 20 * i
    assert crop_nuclei(pixels, measure(labels))[:, 16, 16, 0].tolist() == [0, 20, 40, 60, 80, 100]


def test_no_nuclei_give_no_crops():
    crops = crop_nuclei(np.zeros((10, 10, 3), np.uint8), measure(np.zeros((10, 10), np.int32)))
    assert crops.shape == (0, 32, 32, 3)
    assert to_network(crops).shape == (0, 3, 32, 32)


def test_network_values_return_to_all_256_grey_levels():
    crops = np.resize(np.arange(256, dtype=np.uint8), (1, 32, 32, 3))
    values = to_network(crops)
    assert values.dtype == np.float32
    assert values.shape == (1, 3, 32, 32)
    assert (values.min(), values.max()) == (-1, 1)
    np.testing.assert_array_equal(from_network(values), crops)


def test_network_channels_are_red_green_blue():
    crops = np.zeros((2, 32, 32, 3), np.uint8)
    crops[1, 3, 7] = (255, 127, 0)
    np.testing.assert_allclose(to_network(crops)[1, :, 3, 7], [1, 127 / 127.5 - 1, -1], atol=1e-6)


def test_network_values_beyond_the_range_are_clipped():
    values = np.full((1, 3, 32, 32), 1.5, np.float32)
    assert (from_network(values) == 255).all()
    assert (from_network(-values) == 0).all()
