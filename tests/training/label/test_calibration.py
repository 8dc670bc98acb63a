import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.model_selection import StratifiedKFold

from training.label.calibration import fit_calibration, fit_conformal, reliability


def drawn(n=400, seed=0):
    """Scores, and labels that are abnormal with probability σ(1.5 · score − .4)."""
    random = np.random.default_rng(seed)
    scores = random.normal(0, 1.5, n)
    return scores, (random.random(n) < 1 / (1 + np.exp(-(1.5 * scores - 0.4)))).astype(np.int64)


def test_sigmoid_is_the_one_that_made_the_labels():
    found = fit_calibration(*drawn(20_000))
    assert (found["slope"], found["intercept"]) == pytest.approx((1.5, -0.4), abs=0.1)


def test_sigmoid_minimises_platts_cross_entropy():
    scores, abnormal = drawn(60)
    n_normal, n_abnormal = np.bincount(abnormal)
    target = np.where(abnormal == 1, (n_abnormal + 1) / (n_abnormal + 2), 1 / (n_normal + 2))

    def loss(parameters):
        log_odds = parameters[0] * scores + parameters[1]
        return (target * np.logaddexp(0, -log_odds) + (1 - target) * np.logaddexp(0, log_odds)).sum()

    best = minimize(loss, [1, 0], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9}).x
    found = fit_calibration(scores, abnormal)
    assert [found["slope"], found["intercept"]] == pytest.approx(best.tolist(), abs=1e-2)


@pytest.mark.parametrize(("n_normal", "n_abnormal"), [(19, 100), (100, 19), (0, 40)])
def test_no_calibration_below_twenty_tiles_of_a_label(n_normal, n_abnormal):
    abnormal = np.repeat([0, 1], [n_normal, n_abnormal])
    assert fit_calibration(abnormal - 0.5, abnormal) is None


def test_scores_that_part_the_labels_give_a_finite_slope():
    abnormal = np.repeat([0, 1], 20)
    found = fit_calibration(np.where(abnormal, 3.0, -3.0), abnormal)
    assert found["tiles"] == {"normal": 20, "abnormal": 20}
    # Platt's targets of 20 and 20 are 21/22 and 1/22: log 21 at score 3.
    assert found["slope"] == pytest.approx(np.log(21) / 3, rel=1e-3)
    assert found["intercept"] == pytest.approx(0, abs=1e-3)


def test_reliability_table_counts_every_tile_once_and_beats_the_base_rate():
    scores, abnormal = drawn()
    found = reliability(scores, abnormal, StratifiedKFold(4).split(scores, abnormal))
    assert sum(row["tiles"] for row in found["table"]) == 400
    for row in found["table"]:
        assert row["low"] <= row["probability"] <= row["high"]
        assert abs(row["abnormal"] - row["probability"]) < 4 * 0.5 / np.sqrt(row["tiles"])
    assert found["brier"] < found["brier_by_share"] == pytest.approx(abnormal.mean() * (1 - abnormal.mean()))


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
