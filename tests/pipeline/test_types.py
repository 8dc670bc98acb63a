from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

from app.pipeline.presets import DEFAULT
from app.pipeline.stain.unmix import unmix
from app.pipeline.types import Later
from tests.drawing import draw_tile, grid_of_centres


def test_a_later_value_is_made_once_by_whichever_thread_asks_first():
    made, together = [], Barrier(4)

    def make():
        made.append(object())
        return made[-1]

    value = Later(make)
    assert not made

    def ask(_):
        together.wait()
        return value()

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(ask, range(4)))
    assert answers == made * 4


def test_a_later_value_that_could_not_be_made_is_tried_again():
    tries = iter([MemoryError("allocate memory"), None])

    def make():
        if error := next(tries):
            raise error
        return 7

    value = Later(make)
    with pytest.raises(MemoryError):
        value()
    assert value() == value() == 7


def test_a_part_of_a_tile_is_unmixed_as_the_whole():
    stains = unmix(draw_tile(grid_of_centres()), DEFAULT.stain)
    square = slice(20, 90), slice(0, 50)
    part = stains.part(square)
    assert part.estimate is stains.estimate
    np.testing.assert_array_equal(part.haematoxylin, stains.haematoxylin[square])
    np.testing.assert_array_equal(part.normalised, stains.normalised[square])
    np.testing.assert_array_equal(part.tissue, stains.tissue[square])
