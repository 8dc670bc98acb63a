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


def test_photograph_that_its_file_says_to_turn_is_shown_as_it_is_stored_and_says_so(bundle):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = IMAGE.transpose(Image.Transpose.ROTATE_90)
    result = analysed(encoded(stored, "JPEG", exif=exif, quality=95), bundle)
    shown = as_pixels(result, "tile")
    assert (result.tile.width, result.tile.height) == stored.size
    assert np.abs(shown.astype(int) - np.asarray(stored)).mean() < 5
    (flag,) = [flag for flag in result.quality.flags if flag.code == "orientation_ignored"]
    assert "orientation 6" in flag.message
    assert not flag.prevents_label


def test_rescaled_tile_is_shown_as_it_was_uploaded(bundle):
    np.testing.assert_array_equal(as_pixels(analysed(encoded(IMAGE), bundle, mpp=0.5), "tile"), TILE)
