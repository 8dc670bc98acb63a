import numpy as np
import pytest

from app.pipeline.nuclei.threshold import compact, fill_holes, remove_small
from tests.drawing import disc


def box(shape, x0, y0, x1, y1):
    stained = np.zeros(shape, bool)
    stained[y0:y1, x0:x1] = True
    return stained


def test_remove_small_counts_diagonal_neighbours_as_one_object():
    diagonal = np.eye(10, dtype=bool)
    assert remove_small(diagonal, 10).sum() == 10
    assert remove_small(diagonal, 11).sum() == 0


def test_compaction_cuts_the_tail_and_keeps_the_disc():
    shape = (60, 100)
    body = disc(shape, (30, 30), 15)
    with_tail = body | box(shape, 44, 29, 80, 31)
    compacted = compact(with_tail, 3)
    assert not compacted[:, 50:].any()
    assert compacted[disc(shape, (30, 30), 13)].all()
    assert compacted.sum() >= 0.97 * body.sum()


def test_compaction_of_a_thin_line_leaves_nothing():
    assert not compact(box((30, 60), 5, 10, 55, 14), 3).any()


@pytest.mark.parametrize(("hole_px", "filled"), [(1000, True), (1001, False)])
def test_holes_are_filled_up_to_the_limit(hole_px, filled):
    stained = np.ones((60, 60), bool)
    stained[10:50, 10:35] = False
    stained[9, 10] = hole_px == 1000
    assert (~stained).sum() == hole_px
    assert fill_holes(stained, 1000).all() == filled
