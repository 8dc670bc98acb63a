import numpy as np
import pytest
import torch

from app.pipeline.networks.architecture import CriticQ, Generator
from training.gan.checks import assign_clusters, check_model, diversity


class Colours(torch.nn.Module):
    """A generator whose cell of cluster c is uniformly of grey c, brighter by z."""

    def __init__(self, n_clusters=3):
        super().__init__()
        self.n_clusters, self.latent_size = n_clusters, 1
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, latent):
        code = latent[:, : self.n_clusters].argmax(1).float()
        grey = (code - 1) / 2 + 0.05 * latent[:, -1].clamp(-1, 1)
        return grey.view(-1, 1, 1, 1).expand(-1, 3, 32, 32)


class Greys(torch.nn.Module):
    """A Q that names the cluster by the grey at the centre; `mistaken` takes every cluster for the first."""

    def __init__(self, mistaken=False):
        super().__init__()
        self.mistaken = mistaken

    def logits(self, crops):
        centres = torch.tensor([-0.5, 0.0, 0.5])
        logits = -100 * (crops[:, :, 16, 16].mean(1, keepdim=True) - centres) ** 2
        return logits[:, :1] * torch.tensor([0.0, 1, 1]) if self.mistaken else logits


def noisy(crops):
    """Real cells are never quite alike; corners and centre, which these models look at, stay."""
    noise = np.random.default_rng(0).integers(-5, 6, crops.shape)
    noise[:, ::31, ::31] = noise[:, 16, 16] = 0
    return (crops + noise).astype(np.uint8)


def grey_crops(*counts):
    greys = np.repeat([64, 128, 191], counts)
    return noisy(np.broadcast_to(greys[:, None, None, None], (len(greys), 32, 32, 3)))


def axes(n, length):
    """n points that are all √2 · length apart."""
    return length * np.eye(n, 20, dtype=np.float32)


def test_diversity_is_a_ratio_of_mean_distances():
    prototypes = np.stack([axes(16, 3.0), axes(16, 0.5), np.zeros((16, 20), np.float32), axes(16, 1.0)])
    real = np.concatenate([axes(16, 2.0), axes(20, 2.0), axes(16, 1.0), axes(15, 1.0)])
    clusters = np.repeat([0, 1, 2, 3], [16, 20, 16, 15])
    ratios = diversity(prototypes, real, clusters, seed=0)
    assert ratios[:3] == pytest.approx([1.5, 0.25, 0.0])
    assert ratios[3] is None


def test_diversity_of_the_same_cells_is_one_in_any_order():
    real = np.random.default_rng(0).normal(size=(16, 20)).astype(np.float32)
    assert diversity(real[None, ::-1], real, np.zeros(16, int), seed=1) == pytest.approx([1.0])


def test_model_that_has_learned_everything():
    checks = check_model(Colours(), Greys(), grey_crops(20, 60, 20), per_cluster=50)
    assert checks["fidelity"] == [1.0, 1.0, 1.0]
    assert checks["shares"] == pytest.approx([0.2, 0.6, 0.2])
    assert checks["rotation_agreement"] == 1.0
    assert checks["loss_q"] < 0.01
    assert len(checks["diversity"]) == 3


def test_model_that_puts_everything_into_one_cluster():
    checks = check_model(Colours(), Greys(mistaken=True), grey_crops(10, 20, 10), per_cluster=50)
    assert sum(checks["fidelity"]) == pytest.approx(1, abs=0.5)
    assert max(checks["shares"]) == 1.0
    assert checks["loss_q"] > 0.5
    assert sum(ratio is None for ratio in checks["diversity"]) == 2


def test_rotation_agreement_counts_crops_that_change_cluster_when_turned():
    class TopLeft(Greys):
        def logits(self, crops):
            return super().logits(crops[:, :, :1, :1].expand(-1, -1, 32, 32))

    crops = np.full((40, 32, 32, 3), 128, np.uint8)
    crops[:10, :16, :16] = 64
    checks = check_model(Colours(), TopLeft(), noisy(crops), per_cluster=20)
    # A quarter of the crops has a corner of its own; none of its three turns agrees.
    assert checks["rotation_agreement"] == pytest.approx(0.75)


def test_same_seed_gives_the_same_figures(train_config, cells):
    torch.manual_seed(0)
    generator, critic = Generator(8, 5, 8).eval(), CriticQ(8, 5).eval()
    first, again, other = (check_model(generator, critic, cells.crops, seed=s, per_cluster=20) for s in (0, 0, 1))
    assert first == again
    assert first["loss_q"] != other["loss_q"]
    assert sum(first["shares"]) == pytest.approx(1)


def test_large_sets_are_assigned_in_pieces():
    crops = torch.rand(1100, 3, 32, 32) * 2 - 1
    whole = Greys().logits(crops).argmax(1).numpy()
    np.testing.assert_array_equal(assign_clusters(Greys(), crops), whole)
