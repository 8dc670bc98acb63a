import io

import numpy as np
import pytest
from PIL import Image

from tests.answer.rendering import analysed, as_pixels
from tests.drawing import draw_tile, encoded, grid_of_centres

TILE = draw_tile(grid_of_centres())
IMAGE = Image.fromarray(TILE)


def test_tile_is_the_upload_pixel_by_pixel(result):
    np.testing.assert_array_equal(as_pixels(result, "tile"), result.analysis.tile.pixels)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_lossless_file_gives_its_pixels(bundle, form):
    np.testing.assert_array_equal(as_pixels(analysed(encoded(IMAGE, form), bundle), "tile"), TILE)


def test_grey_tile_has_three_equal_channels(bundle):
    grey = np.asarray(IMAGE.convert("L"))
    shown = as_pixels(analysed(encoded(grey), bundle), "tile")
    np.testing.assert_array_equal(shown, np.repeat(grey[..., None], 3, axis=2))


def test_transparent_pixels_are_the_white_of_glass(bundle):
    alpha = np.full(TILE.shape[:2], 255, np.uint8)
    alpha[:50] = 0
    shown = as_pixels(analysed(encoded(np.dstack([TILE, alpha])), bundle), "tile")
    assert (shown[:50] == 255).all()
    np.testing.assert_array_equal(shown[50:], TILE[50:])


def test_photograph_that_its_file_says_to_turn_is_upright(bundle):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(IMAGE.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)
    with Image.open(io.BytesIO(turned)) as image:
        assert image.size == (TILE.shape[0], TILE.shape[1])
    shown = as_pixels(analysed(turned, bundle), "tile")
    assert shown.shape == TILE.shape
    assert np.abs(shown.astype(int) - TILE).mean() < 5


def test_rescaled_tile_is_shown_as_it_was_uploaded(bundle):
    np.testing.assert_array_equal(as_pixels(analysed(encoded(IMAGE), bundle, mpp=0.5), "tile"), TILE)
