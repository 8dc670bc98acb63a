import io

import cv2
import numpy as np
import pytest
from PIL import Image

from bench.tiles import drawn, mirrored, to_png


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_smaller_square_is_the_corner(rng):
    pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    np.testing.assert_array_equal(mirrored(pixels, 30), pixels[:30, :30])


def test_larger_square_is_mirrored_at_its_edges_again_and_again(rng):
    pixels = rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    found = mirrored(pixels, 14)
    assert found.shape == (14, 14, 3)
    np.testing.assert_array_equal(found[:4, :6], pixels)
    np.testing.assert_array_equal(found[4:8, :6], pixels[::-1])
    np.testing.assert_array_equal(found[8:12, :6], pixels)
    np.testing.assert_array_equal(found[:4, 6:12], pixels[:, ::-1])


@pytest.mark.parametrize("n_nuclei", [0, 7, 400])
def test_so_many_nuclei_are_drawn_apart(n_nuclei):
    # Nuclei are darker in red than eosin, which hardly absorbs it.
    is_dark = (drawn(n_nuclei)[..., 0] < 150).astype(np.uint8)
    areas = cv2.connectedComponentsWithStats(is_dark)[2][1:, cv2.CC_STAT_AREA]
    assert len(areas) == n_nuclei
    assert all(250 < area < 400 for area in areas)  # π · 10² is 314


def test_nuclei_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        drawn(3000)


def test_png_holds_the_pixels(rng):
    pixels = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(to_png(pixels)))), pixels)
