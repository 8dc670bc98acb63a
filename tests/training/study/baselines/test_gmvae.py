import math

import numpy as np
import pytest
import torch

from tests.training.study.drawn_cells import placed
from training.study.baselines.gmvae import (
    Gaussian,
    Gmvae,
    cluster_divergence,
    divergence,
    expected_divergence,
    reconstruction_loss,
    responsibilities,
)


def gaussian(means, variances):
    return Gaussian(torch.tensor(means), torch.tensor(variances).log())


def test_divergence_by_hand():
    """KL(N(1, 1) ‖ N(0, 1)) = 1/2 and KL(N(0, 4) ‖ N(0, 1)) = (4 − 1 − ln 4) / 2; dimensions add up."""
    q = gaussian([[1.0, 0.0], [0.0, 0.0]], [[1.0, 4.0], [1.0, 1.0]])
    p = gaussian([0.0, 0.0], [1.0, 1.0])
    assert divergence(q, p).tolist() == pytest.approx([0.5 + (3 - math.log(4)) / 2, 0])


def test_divergence_is_that_of_pytorch():
    torch.manual_seed(0)
    q, p = (Gaussian(torch.randn(3, 4), torch.randn(3, 4)) for _ in range(2))
    normals = [torch.distributions.Normal(g.mean, (g.log_variance / 2).exp()) for g in (q, p)]
    expected = torch.distributions.kl_divergence(*normals).sum(dim=1)
    assert torch.allclose(divergence(q, p), expected, atol=1e-4)


def test_responsibilities_follow_bayes():
    """Densities of N(0, 1) and N(0, 4) at 0 are as 2 to 1."""
    mixture = gaussian([[[0.0], [0.0]]], [[[1.0], [4.0]]])
    assert responsibilities(torch.zeros(1, 1), mixture)[0].tolist() == pytest.approx([2 / 3, 1 / 3])


def test_responsibilities_between_two_alike_depend_on_the_distance():
    """Between N(−1, 1) and N(1, 1) the log odds at x are 2x."""
    mixture = gaussian([[[-1.0], [1.0]]] * 2, [[[1.0], [1.0]]] * 2)
    odds = [1 / (1 + math.exp(2 * x)) for x in (0.0, 0.7)]
    assert responsibilities(torch.tensor([[0.0], [0.7]]), mixture)[:, 0].tolist() == pytest.approx(odds)


def test_expected_divergence_is_weighed_by_the_clusters():
    q_x = gaussian([[0.0]], [[1.0]])
    mixture = gaussian([[[0.0], [2.0]]], [[[1.0], [1.0]]])
    assert expected_divergence(q_x, mixture, torch.tensor([[0.25, 0.75]])).tolist() == pytest.approx([0.75 * 2])


def test_cluster_divergence_of_a_guess_and_of_certainty():
    of_clusters = torch.tensor([[0.25] * 4, [1.0, 0, 0, 0]])
    assert cluster_divergence(of_clusters).tolist() == pytest.approx([0, math.log(4)], abs=1e-6)


def test_reconstruction_loss_of_a_guess_is_a_bit_for_each_value():
    logits = torch.zeros(2, 3, 32, 32)
    assert reconstruction_loss(logits, torch.ones_like(logits)).item() == pytest.approx(3072 * math.log(2), rel=1e-5)


def test_the_bound_rises(three_kinds):
    early, late = (Gmvae(3, 0, iterations=iterations) for iterations in (5, 60))
    for system in (early, late):
        system.fit(placed(three_kinds))
    notes = late.notes()
    parts = ("reconstruction", "divergence_x", "divergence_w", "divergence_c")
    assert notes["negative_bound"] == pytest.approx(sum(notes[part] for part in parts))
    assert notes["negative_bound"] < early.notes()["negative_bound"]
    assert all(notes[part] > 0 for part in parts)


def test_same_seed_same_clusters(three_kinds):
    fitted = [Gmvae(3, seed, iterations=4) for seed in (1, 1, 2)]
    for system in fitted:
        system.fit(placed(three_kinds))
    first, again, other = (system.notes() for system in fitted)
    assert first == again != other
    clusters = [system.clusters(three_kinds) for system in fitted[:2]]
    assert np.array_equal(*clusters)
    assert clusters[0].dtype == np.int64
    assert set(clusters[0]) <= {0, 1, 2}
