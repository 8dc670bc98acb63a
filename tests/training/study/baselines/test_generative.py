import math

import numpy as np
import pytest
import torch
from torch import nn

from tests.training.study.drawn_cells import placed
from training.errors import DivergedError
from training.study.baselines.generative import GenerativeClusterer, descend, entropy, measure_norms, usage


class Fragile:
    """Learns until a given step, at which its loss is not a number."""

    def __init__(self, n_clusters, last):
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, n_clusters))
        self._adam = torch.optim.Adam(self.classifier.parameters())
        self._left = last

    def step(self, real):
        loss = self.classifier(real).float().square().mean()
        descend(self._adam, loss if self._left else loss * math.nan)
        self._left -= 1
        return {"loss": loss.detach()}


def test_entropy_by_hand():
    probabilities = torch.tensor([[0.5, 0.5, 0.0], [0.25, 0.5, 0.25], [1.0, 0.0, 0.0]])
    assert entropy(probabilities).tolist() == pytest.approx([math.log(2), 1.5 * math.log(2), 0], abs=1e-6)


def test_a_certain_answer_has_a_finite_gradient():
    logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
    entropy(logits.softmax(dim=1)).sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_a_cluster_is_in_use_from_one_cell_in_a_hundred():
    clusters = np.repeat([0, 1, 2], [980, 10, 9])
    assert usage(clusters, 5) == {"clusters_in_use": 2.0, "largest_share": pytest.approx(980 / 999)}


@pytest.mark.parametrize("n", [2, 513])
def test_norms_are_those_of_the_cells(n):
    """513 is one more than a chunk: no part of a single cell is left over, which batch norm would refuse."""
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.BatchNorm1d(12))
    net(torch.full((4, 3, 2, 2), 1000.0))
    cells = torch.randn(n, 3, 2, 2, generator=torch.Generator().manual_seed(0)) * 2 + 5
    measure_norms(net, cells)
    assert net[0].running_mean.tolist() == pytest.approx(cells.mean(dim=(0, 2, 3)).tolist(), rel=1e-2)
    assert not net.training


@pytest.mark.parametrize("finite", [0, 3])
def test_training_that_diverges_is_noted_and_still_gives_clusters(three_kinds, finite):
    system = GenerativeClusterer(lambda k: Fragile(k, finite), n_clusters=4, seed=0, iterations=10)
    system.fit(placed(three_kinds))
    notes = system.notes()
    assert (notes["iterations"], notes["diverged"]) == (finite, 1)
    assert np.isfinite([*notes.values()]).all()
    assert set(system.clusters(three_kinds)) <= set(range(4))


def test_a_loss_that_is_not_finite_moves_nothing():
    weight = nn.Parameter(torch.ones(1))
    with pytest.raises(DivergedError, match="inf"):
        descend(torch.optim.SGD([weight], 1.0), weight.sum() * math.inf)
    assert weight.item() == 1
