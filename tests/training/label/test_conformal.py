import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.label.conformal import fit_conformal


def test_limits_hold_nine_in_ten_of_each_label():
    """Of 19 scores the ⌈20 · .9⌉ = 18th from the label's own side is the limit."""
    normal, abnormal = np.arange(19) - 25.0, np.arange(19) + 5.0
    found = fit_conformal(np.concatenate([normal, abnormal]), np.repeat([0, 1], 19))
    assert found["max_normal"] == normal[17]
    assert found["min_abnormal"] == abnormal[1]
    assert found["examples"] == {"normal": 19, "abnormal": 19}


@pytest.mark.parametrize(("n", "limited"), [(0, False), (8, False), (9, True)])
def test_fewer_than_nine_examples_give_no_limit(n, limited):
    found = fit_conformal(np.concatenate([-np.ones(n), np.ones(30)]), np.repeat([0, 1], [n, 30]))
    assert (found["max_normal"] is not None) == limited
    assert found["min_abnormal"] == 1


@settings(max_examples=30, derandomize=True, deadline=None)
@given(st.integers(9, 200), st.randoms(use_true_random=False))
def test_a_new_example_is_within_its_limit_nine_times_in_ten(n, random):
    """On average over the examples that the limits are taken from, whatever their distribution."""
    draws = np.random.default_rng(random.randrange(2**32)).standard_cauchy((4000, n + 1))
    limits = np.sort(draws[:, :n], axis=1)[:, int(np.ceil((n + 1) * 0.9)) - 1]
    assert fit_conformal(draws[0, :n], np.zeros(n, np.int64))["max_normal"] == limits[0]
    assert (draws[:, n] <= limits).mean() >= 0.88
