import math

import pytest
import torch
from torch import nn

from app.pipeline.networks.architecture import CriticQ
from training.gan.losses import (
    PiecewiseLinear,
    code_loss,
    critic_loss,
    generator_loss,
    gradient_penalty,
    mode_seeking_loss,
)
from training.gan.networks import conditional_scores

SIZE = 3 * 4 * 4
REAL, FAKE = torch.randn(2, 6, 3, 32, 32, generator=torch.Generator().manual_seed(1))
MIX = torch.rand(6, generator=torch.Generator().manual_seed(2))


def images(*values):
    """One constant image for each value, (B, 3, 4, 4)."""
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 3, 4, 4).clone()


def test_critic_is_to_score_real_cells_above_generated_ones():
    assert critic_loss(torch.tensor([1.0, 3.0]), torch.tensor([5.0, 1.0])) == 1.0
    assert critic_loss(torch.tensor([5.0, 1.0]), torch.tensor([1.0, 3.0])) == -1.0


def test_generator_is_to_raise_the_score_of_its_cells():
    assert generator_loss(torch.tensor([1.0, 3.0])) == -2.0


@pytest.mark.parametrize("k", [2, 5, 17])
def test_code_loss_of_a_guess_is_ln_k(k):
    assert code_loss(torch.zeros(4, k), torch.arange(4) % k).item() == pytest.approx(math.log(k), rel=1e-6)


def test_code_loss_is_the_mean_negative_log_likelihood():
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]])
    assert code_loss(logits, torch.tensor([1, 0])).item() == pytest.approx(-(math.log(3 / 4) + math.log(1 / 4)) / 2)


def test_descent_on_the_code_loss_makes_the_code_more_probable():
    logits = torch.zeros(1, 3, requires_grad=True)
    code_loss(logits, torch.tensor([1])).backward()
    assert logits.grad.tolist()[0] == pytest.approx([1 / 3, -2 / 3, 1 / 3])


@pytest.mark.parametrize("slope", [0.0, 0.5, -2.0])
def test_penalty_of_a_linear_critic(slope):
    penalty = gradient_penalty(
        lambda x: slope * x.flatten(1).sum(1), images(1.0, -1.0), images(0.0, 0.5), torch.tensor([0.3, 0.9])
    )
    assert penalty.item() == pytest.approx((abs(slope) * math.sqrt(SIZE) - 1) ** 2, rel=1e-5)


def test_penalty_of_a_critic_of_unit_slope_is_zero():
    direction = torch.nn.functional.normalize(torch.arange(1.0, SIZE + 1), dim=0)
    penalty = gradient_penalty(lambda x: x.flatten(1) @ direction, images(1.0), images(-1.0), torch.tensor([0.5]))
    assert penalty.item() == pytest.approx(0, abs=1e-10)


def test_penalty_is_taken_between_the_real_and_the_generated_cell():
    # The gradient of |x|²/2 is x itself.
    penalty = gradient_penalty(
        lambda x: x.flatten(1).square().sum(1) / 2, images(1.0, 1.0), images(0.0, 3.0), torch.tensor([0.25, 0.5])
    )
    between = (0.25 * 1 + 0.75 * 0, 0.5 * 1 + 0.5 * 3)
    expected = sum((value * math.sqrt(SIZE) - 1) ** 2 for value in between) / 2
    assert penalty.item() == pytest.approx(expected, rel=1e-5)


def test_penalty_can_be_descended():
    slope = torch.tensor(2.0, requires_grad=True)
    gradient_penalty(lambda x: slope * x.flatten(1).sum(1), images(1.0), images(0.0), torch.tensor([0.5])).backward()
    assert slope.grad.item() == pytest.approx(2 * (2 * math.sqrt(SIZE) - 1) * math.sqrt(SIZE), rel=1e-5)


def test_mode_seeking_loss_is_the_ratio_of_distances_of_pairs():
    cells = images(0.0, 0.2, 0.5, 0.2)
    latents = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [2.0, 0.0]])
    assert mode_seeking_loss(cells, latents).item() == pytest.approx((2 / 0.501 + 1 / 0.001) / 2, rel=1e-4)


def gradients(score, net):
    """Of the penalty, by every weight that it depends on."""
    net.zero_grad(set_to_none=True)
    gradient_penalty(score, REAL, FAKE, MIX).backward()
    return {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


def within(score):
    def call(x):
        with PiecewiseLinear():
            return score(x)

    return call


@pytest.fixture
def critic():
    torch.manual_seed(0)
    return CriticQ(8, 5)


CODES = torch.arange(6) % 5


@pytest.mark.parametrize(
    "score", [lambda critic, x: critic(x)[0], lambda critic, x: conditional_scores(critic, x, CODES)]
)
def test_gradients_of_the_penalty_are_the_same_to_the_last_bit(critic, score):
    plain = gradients(lambda x: score(critic, x), critic)
    cut = gradients(within(lambda x: score(critic, x)), critic)
    assert {name for name, value in plain.items() if value.any()} == set(cut)
    assert all(torch.equal(plain[name], value) for name, value in cut.items())
    assert sum(value.abs().sum() for value in cut.values()) > 0


def test_zeros_are_not_sent_back(critic):
    """A convolution's bias has no part in the gradient: PyTorch by itself finds so at the cost of a backward pass."""
    biases = {name for name, _ in critic.named_parameters() if "conv" in name and name.endswith("bias")}
    assert not biases & set(gradients(within(lambda x: critic(x)[0]), critic))


def test_scores_are_the_same(critic):
    with torch.no_grad():
        assert torch.equal(within(lambda x: critic(x)[0])(REAL), critic(REAL)[0])


def test_second_derivative_of_a_curved_network_is_lost():
    """So it is not for these; and the gradients of the critic are not the same for want of a difference."""
    curved = [nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 4, 3), nn.Tanh()]
    net = nn.Sequential(*curved, nn.Flatten(), nn.Linear(4 * 28 * 28, 1))
    plain, cut = (gradients(score, net) for score in (lambda x: net(x)[:, 0], within(lambda x: net(x)[:, 0])))
    assert not torch.equal(plain["0.weight"], cut["0.weight"])
