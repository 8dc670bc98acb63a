"""The regression: its gradient, its minimum, and what it does not depend on."""

import numpy as np
import pytest
from scipy.optimize import check_grad

from app.review.regression import BIAS_PENALTY, Axes, balanced_weights, learn_path, loss_and_gradient


def drawn(n=60, d=5, n_types=3, seed=0):
    rng = np.random.default_rng(seed)
    types = np.arange(n) % n_types
    return rng.normal(size=(n_types, d))[types] + rng.normal(size=(n, d)), types


def last(numbers, types, n_types, **options):
    *_, learned = learn_path(numbers, types, n_types, **options)
    return learned


def test_gradient_is_that_of_finite_differences():
    numbers, types = drawn()
    rng = np.random.default_rng(1)
    weights = rng.uniform(0.5, 2, len(types))
    for penalty in (0.0, 0.3):
        found = check_grad(
            lambda flat, p=penalty: loss_and_gradient(flat.reshape(3, 6), numbers.T, types, weights, p)[0],
            lambda flat, p=penalty: loss_and_gradient(flat.reshape(3, 6), numbers.T, types, weights, p)[1].ravel(),
            rng.normal(size=18),
        )
        assert found < 1e-6


def test_loss_without_knowledge_is_that_of_guessing():
    numbers, types = drawn()
    assert loss_and_gradient(np.zeros((3, 6)), numbers.T, types, np.ones(60), 1.0)[0] == pytest.approx(np.log(3))


def test_what_is_learned_is_a_minimum_of_the_loss_of_standardised_numbers():
    numbers, types = drawn()
    learned = last(numbers * 7 + 100, types, 3, penalties=(1.0, 0.1))
    standardised = (numbers - numbers.mean(axis=0)) / numbers.std(axis=0)
    parameters = np.column_stack([learned.plain_weights, learned.bias])
    _, gradient = loss_and_gradient(parameters, standardised.T, types, balanced_weights(types, 3), 0.1)
    assert np.abs(gradient).max() < 1e-5


def test_biases_alone_give_the_weighted_shares_of_the_types():
    """Numbers that say nothing, and weights of one over the root of 90 and 10 cells: the shares are as 3 to 1."""
    types = np.repeat([0, 1], [90, 10])
    learned = last(np.ones((100, 2)), types, 2)
    odds = np.exp(learned.logits(np.ones((1, 2)))[0])
    assert odds[0] / odds[1] == pytest.approx(3, rel=1e-3)
    assert (learned.weights == 0).all()


def test_weights_are_balanced_by_the_root_of_the_number_of_a_type():
    weights = balanced_weights(np.repeat([0, 1], [90, 10]), 2)
    assert weights[-1] / weights[0] == pytest.approx(3)
    assert weights.mean() == pytest.approx(1)


def test_affine_changes_of_a_number_change_nothing():
    numbers, types = drawn()
    expected = last(numbers, types, 3).logits(numbers)
    changed = numbers * [1, -3, 1e4, 1e-4, 1] + [0, 5, -1e5, 0, 1e3]
    np.testing.assert_allclose(last(changed, types, 3).logits(changed), expected, atol=1e-3)


def test_a_missing_number_is_at_the_mean_and_a_constant_one_says_nothing():
    numbers, types = drawn()
    numbers[3, 2] = np.nan
    with_constant = np.column_stack([numbers, np.full(len(types), 0.1)])
    learned = last(with_constant, types, 3)
    assert np.isfinite(learned.plain_weights).all()
    assert learned.axes.deviation[5] == 1
    np.testing.assert_allclose(learned.plain_weights[:, 5], 0, atol=1e-9)
    filled = with_constant.copy()
    filled[3, 2] = learned.axes.mean[2]
    np.testing.assert_allclose(learned.logits(with_constant), learned.logits(filled))


def test_a_type_without_cells_is_never_given_and_has_a_finite_bias():
    numbers, types = drawn()
    learned = last(numbers, types, 4)
    logits = learned.logits(numbers)
    assert np.isfinite(logits).all()
    assert (logits.argmax(axis=1) != 3).all()
    assert 0 < BIAS_PENALTY < 1e-3


def test_axes_of_more_numbers_than_cells():
    numbers = np.random.default_rng(0).normal(size=(4, 9))
    axes = Axes.of(numbers)
    np.testing.assert_allclose(axes.rotation @ axes.rotation.T, np.eye(9), atol=1e-12)
    assert (axes.spread >= 0).all()
    np.testing.assert_allclose((axes.apply(numbers) ** 2).mean(axis=0), axes.spread, atol=1e-9)
