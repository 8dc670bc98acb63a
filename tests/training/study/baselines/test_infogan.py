import math

import numpy as np
import pytest
import torch

from app.pipeline.crops import pictures, to_network
from tests.training.study.drawn_cells import placed
from training.study.baselines.infogan import InfoGan, InfoGanModel, discriminator_loss, generator_loss


def test_losses_of_a_discriminator_that_guesses():
    undecided = torch.zeros(8, 1)
    assert discriminator_loss(undecided, undecided).item() == pytest.approx(2 * math.log(2))
    assert generator_loss(undecided).item() == pytest.approx(math.log(2))


def test_losses_by_hand():
    """A score of ln 3 is a probability of 3/4."""
    real, fake = torch.tensor([[math.log(3)]]), torch.tensor([[-math.log(3)]])
    assert discriminator_loss(real, fake).item() == pytest.approx(-2 * math.log(3 / 4))
    assert discriminator_loss(fake, real).item() == pytest.approx(-2 * math.log(1 / 4))
    assert generator_loss(fake).item() == pytest.approx(-math.log(1 / 4))


def test_one_step_moves_every_network(three_kinds):
    torch.manual_seed(0)
    model = InfoGanModel(2)
    nets = (model.generator, model.trunk, model.score, model.code_logits)
    before = [[weight.clone() for weight in net.parameters()] for net in nets]
    values = model.step(torch.from_numpy(to_network(pictures(three_kinds[:8]))))
    for net, old in zip(nets, before, strict=True):
        assert any(not torch.equal(*pair) for pair in zip(net.parameters(), old, strict=True))
    assert all(torch.isfinite(value) for value in values.values())
    assert 0 <= values["accuracy_d"] <= 1


def test_same_seed_same_clusters_and_other_randomness_is_left_alone(three_kinds):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    fitted = [InfoGan(3, seed, iterations=4) for seed in (1, 1, 2)]
    for system in fitted:
        system.fit(placed(three_kinds))
    assert torch.rand(1) == expected
    first, again, other = (system.notes() for system in fitted)
    assert first == again != other
    clusters = [system.clusters(three_kinds) for system in fitted[:2]]
    assert np.array_equal(*clusters)
    assert clusters[0].dtype == np.int64
    assert set(clusters[0]) <= {0, 1, 2}
