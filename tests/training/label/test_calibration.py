import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.model_selection import StratifiedKFold

from app.pipeline.label.decide import possible_labels
from app.pipeline.manifest import Conformal, ImageLevel, Svm
from training.cells.tile_labels import LABELS
from training.errors import DataError
from training.label.calibration import fit_calibration, fit_conformal, quantile, reliability
from training.label.models import Examples, fit_svm


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


def test_sigmoid_that_would_turn_the_score_round_is_refused():
    scores, abnormal = drawn()
    with pytest.raises(DataError, match="do not score higher"):
        fit_calibration(-scores, abnormal)


@pytest.mark.parametrize(("n", "rank"), [(8, None), (9, 9), (18, 18), (19, 18), (20, 19), (30, 28)])
def test_limit_is_a_rank_of_single_scores(n, rank):
    """The ⌈(n + 1) · .9⌉-th smallest."""
    found = quantile(np.arange(n)[::-1] + 1.0, np.arange(n))
    assert found == rank


def test_a_unit_counts_once_however_many_scores_it_has():
    """Nine units with one score each, a tenth with 90: .9 · 11 = 9.9, so 81 of its 90 scores lie within the limit."""
    scores = np.concatenate([np.arange(1.0, 10), 100 + np.arange(90)])
    units = np.minimum(np.arange(99), 9)
    assert quantile(scores, units) == 180
    assert quantile(scores[::-1], units[::-1]) == 180
    # Ninety scores of one unit say nothing about another unit.
    assert quantile(scores[9:], units[9:]) is None


def bags(n_units, tiles_per_unit, random, shift=2.0):
    """Tiles in two clusters, of as many normal as abnormal patients; tiles of a patient are alike."""
    abnormal = np.repeat(np.arange(2 * n_units) % 2, tiles_per_unit)
    units = np.repeat(np.arange(2 * n_units), tiles_per_unit)
    odds = random.normal(0, 1, 2 * n_units)[units] + random.normal(0, 0.3, len(units)) + shift * (abnormal - 0.5)
    share = 1 / (1 + np.exp(-odds))
    return Examples(np.stack([1 - share, share], axis=1), abnormal, np.zeros((len(abnormal), 0))), units


def test_limits_are_of_patients_left_out_and_keep_the_svms_that_left_them_out(smoke):
    examples, units = bags(10, 3, np.random.default_rng(0))
    found = Conformal.model_validate(fit_conformal(examples, units, "patients", smoke.fit))
    assert (found.units, found.n_units.normal, found.n_units.abnormal) == ("patients", 10, 10)
    assert (len(found.without_a_normal), len(found.without_an_abnormal)) == (10, 10)
    for svm, unit in zip(found.without_a_normal, range(0, 20, 2), strict=True):
        assert fit_svm(examples[np.flatnonzero(units != unit)], smoke.fit)["bias"] == svm.bias


@pytest.mark.parametrize(("n_patients", "limited"), [(8, False), (9, True)])
def test_patients_and_not_tiles_decide_whether_there_is_a_limit(smoke, n_patients, limited):
    examples, units = bags(n_patients, 5, np.random.default_rng(0))
    found = fit_conformal(examples, units, "patients", smoke.fit)
    assert (found["max_normal"] is not None) == (found["min_abnormal"] is not None) == limited
    assert found["n_units"] == {"normal": n_patients, "abnormal": n_patients}
    assert bool(found["without_a_normal"]) == limited


def test_tiles_of_new_patients_have_their_label_in_the_set_as_often_as_is_promised(smoke):
    """Over many bundles, each fitted to 9 patients of either label, with a new patient of either label."""
    random, held, apart = np.random.default_rng(0), [], []
    for _ in range(100):
        examples, units = bags(10, 4, random)
        known = np.flatnonzero(units < 18)
        fitted = fit_conformal(examples[known], units[known], "patients", smoke.fit)
        model = one_model(fit_svm(examples[known], smoke.fit), fitted)
        for i in np.flatnonzero(units >= 18):
            possible = possible_labels(examples.proportions[i], model)
            held.append(LABELS[examples.abnormal[i]] in possible)
            apart.append(len(possible) < 2)
    # The tiles of a patient are alike: three standard errors of 200 patients at .9 are .06.
    assert np.mean(held) >= 0.9 - 0.06
    assert np.mean(apart) > 0.3


def one_model(svm, conformal):
    """An image-level model of which `possible_labels` needs these two parts."""
    return ImageLevel.model_construct(svm=Svm.model_validate(svm), conformal=Conformal.model_validate(conformal))
