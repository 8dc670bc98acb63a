import numpy as np
import pytest
from PIL import Image

from app.pipeline.presets import DEFAULT
from app.pipeline.stain.slide import APRON_PX, Piece, estimate_stain
from app.pipeline.stain.unmix import unmix
from tests.conftest import REPOSITORY

PARAMS = DEFAULT.stain


@pytest.fixture(scope="module")
def sample_pixels():
    with Image.open(REPOSITORY / "models" / "marrow" / "sample.png") as image:
        return np.asarray(image.convert("RGB"))


def whole(pixels):
    return Piece(pixels, (slice(None), slice(None)))


def pieces_of(pixels, size):
    """The picture in squares, each with its apron."""
    height, width = pixels.shape[:2]
    for y in range(0, height, size):
        for x in range(0, width, size):
            top, left = max(0, y - APRON_PX), max(0, x - APRON_PX)
            seen = pixels[top : y + size + APRON_PX, left : x + size + APRON_PX]
            rows, columns = slice(y - top, y - top + size), slice(x - left, x - left + size)
            yield Piece(np.ascontiguousarray(seen), (rows, columns))


def check_same(found, wanted, tolerance):
    np.testing.assert_allclose(found.lab.mean, wanted.lab.mean, atol=tolerance)
    np.testing.assert_allclose(found.lab.sd, wanted.lab.sd, atol=tolerance)
    np.testing.assert_allclose(found.stain_matrix, wanted.stain_matrix, atol=tolerance)
    assert found.nuclear_density == pytest.approx(wanted.nuclear_density, abs=100 * tolerance)


def test_of_a_whole_tile_it_is_what_the_tile_is_unmixed_with(sample_pixels):
    check_same(estimate_stain([whole(sample_pixels)], PARAMS), unmix(sample_pixels, PARAMS).estimate, 0)


@pytest.mark.parametrize("size", [200, 333])
def test_pieces_give_what_the_whole_gives(sample_pixels, size):
    found = estimate_stain(list(pieces_of(sample_pixels, size)), PARAMS)
    check_same(found, unmix(sample_pixels, PARAMS).estimate, 1e-3)


def test_glass_has_no_stain():
    assert estimate_stain([whole(np.full((64, 64, 3), 255, np.uint8))] * 2, PARAMS) is None
