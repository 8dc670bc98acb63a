import numpy as np
import pytest

from training.metrics.classification import score_types


def test_scores_of_ten_cells_are_those_worked_out_by_hand():
    # Eight cells of type 0, of which two are taken for 1, and one for 7, which no cell is; two of type 1, one found.
    types = np.array([0] * 8 + [1] * 2)
    found = np.array([0] * 5 + [1, 1, 7] + [1, 0])
    scores = score_types(types, found)
    # 0: P 5/6, R 5/8, F 10/14. 1: P 1/3, R 1/2, F 2/5.
    assert scores["precision"] == pytest.approx(0.8 * 5 / 6 + 0.2 / 3)
    assert scores["recall"] == pytest.approx(0.6)
    assert scores["f1"] == pytest.approx(0.8 * 10 / 14 + 0.2 * 2 / 5)
    assert scores["macro_f1"] == pytest.approx((10 / 14 + 2 / 5) / 2)
