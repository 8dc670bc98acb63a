import numpy as np
import pytest
from scipy import ndimage

from training.segmenter.drawn import DIAMETERS_PX, LARGE_DIAMETERS_PX, drawn_lesson


@pytest.fixture(scope="module")
def lessons():
    random = np.random.default_rng(0)
    return [drawn_lesson(random, 160, 2) for _ in range(12)]


def test_nuclei_are_darker_than_what_lies_round_them(lessons):
    for lesson in lessons:
        grey, nucleus = lesson[..., :3].mean(axis=2), lesson[..., 3]
        near = ndimage.binary_dilation(nucleus > 0, iterations=6) & (nucleus == 0)
        assert grey[nucleus == 255].mean() < grey[near].mean()


def test_the_pixels_are_those_that_the_labels_say(lessons):
    """Each tile is darkest, relative to its surroundings, where the labels lie, and not some px beside them."""
    for shift in ((4, 0), (-4, 0), (0, 4), (0, -4)):
        there = sum(_darkness(lesson, (0, 0)) for lesson in lessons)
        assert there > sum(_darkness(lesson, shift) for lesson in lessons)


def _darkness(lesson, shift):
    grey, nucleus = lesson[..., :3].mean(axis=2), np.roll(lesson[..., 3] > 127, shift, axis=(0, 1))
    return grey[~nucleus].mean() - grey[nucleus].mean()


def test_sizes_reach_from_the_smallest_nuclei_to_those_of_megakaryocytes(lessons):
    areas = np.concatenate([np.bincount(ndimage.label(lesson[..., 3] > 127)[0].ravel())[1:] for lesson in lessons])
    # At the network's scale a pixel has four of the tile's.
    diameters = 2 * np.sqrt(4 * areas / np.pi)
    assert diameters.min() < 1.5 * DIAMETERS_PX[0]
    assert LARGE_DIAMETERS_PX[0] < diameters.max()


def test_nothing_drawn_is_uncertain(lessons):
    assert not any(lesson[..., 5:].any() for lesson in lessons)


def test_the_same_draws_give_the_same_lesson():
    one, other = (drawn_lesson(np.random.default_rng(3), 64, 2) for _ in range(2))
    np.testing.assert_array_equal(one, other)
