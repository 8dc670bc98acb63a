import pytest
import torch
from torch import nn

from app.pipeline.networks.architecture import CriticQ
from training.gan.losses import gradient_penalty
from training.gan.piecewise_linear import PiecewiseLinear

REAL, FAKE = torch.randn(2, 6, 3, 32, 32, generator=torch.Generator().manual_seed(1))
MIX = torch.rand(6, generator=torch.Generator().manual_seed(2))


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


def test_gradients_of_the_penalty_are_the_same_to_the_last_bit(critic):
    plain = gradients(lambda x: critic(x)[0], critic)
    cut = gradients(within(lambda x: critic(x)[0]), critic)
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
