import numpy as np
import pytest

from training.metrics.prototypes import kid, nearest_real, told_apart


def column(*values):
    return np.array(values, np.float32)[:, None]


def test_kid_of_two_pairs_is_the_one_worked_out_by_hand():
    # Within: (0·1 + 1)³ = 1 and (1·2 + 1)³ = 27. Between: the mean of 1, 1, 8 and 27.
    assert kid(column(0, 1), column(1, 2)) == pytest.approx((1 + 27 - 2 * 37 / 4, 0))
    # With D = 2 and the second feature 0, the products are halved: 1 and 8; 1, 1, 3.375 and 8.
    wider = [np.pad(some, ((0, 0), (0, 1))) for some in (column(0, 1), column(1, 2))]
    assert kid(*wider)[0] == pytest.approx(1 + 8 - 2 * (1 + 1 + 1.5**3 + 8) / 4)


def test_kid_is_nothing_on_average_where_both_sets_are_of_one_kind():
    draws = np.random.default_rng(0).standard_normal((3, 2000, 4)).astype(np.float32)
    same, _ = kid(draws[0], draws[1])
    other, _ = kid(draws[0], draws[2] + 1)
    assert abs(same) < 0.02
    assert other > 1
    assert kid(draws[0], draws[1], seed=1) != kid(draws[0], draws[1], seed=2)


def test_kid_of_a_single_cell_is_refused():
    with pytest.raises(ValueError, match="found 1 and 2"):
        kid(column(0), column(1, 2))


def test_generated_cells_are_told_by_what_only_some_of_them_have():
    # All real cells and half of the generated ones look the same, and are taken for real: three quarters are right.
    marked = column(*[0, 1] * 50)
    assert told_apart(column(*[0] * 100), marked, seed=0) == 0.75
    assert told_apart(column(*[0] * 100), column(*[1] * 100), seed=0) == 1


def test_the_larger_class_is_no_help():
    draws = np.random.default_rng(0).standard_normal((1200, 3)).astype(np.float32)
    assert told_apart(draws[:1000], draws[1000:], seed=0) == pytest.approx(0.5, abs=0.1)
    with pytest.raises(ValueError, match="found 2 and 9"):
        told_apart(draws[:2], draws[:9], seed=0)


def grey(*levels):
    return np.stack([np.full((4, 4, 3), level, np.uint8) for level in levels])


def test_distances_to_real_cells_are_in_grey_levels():
    found = nearest_real(grey(28, 11), grey(0, 10, 30))
    assert found.real.tolist() == [2, 1]
    assert found.distance.tolist() == [2, 1]
    assert found.between_real.tolist() == [10, 10, 20]


def test_a_copy_is_seen_however_it_is_turned():
    real = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 3), np.uint8)
    copies = np.stack([real[270], np.rot90(real[7]), real[11, ::-1], np.rot90(real[13], 3)[:, ::-1]])
    found = nearest_real(copies, real)
    assert found.real.tolist() == [270, 7, 11, 13]
    assert found.distance.tolist() == [0, 0, 0, 0]
    assert found.between_real.min() > 50, "no real cell is its own neighbour"
