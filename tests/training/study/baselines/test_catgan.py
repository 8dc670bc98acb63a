import math

import numpy as np
import pytest
import torch

from tests.training.study.drawn_cells import placed
from training.study.baselines.catgan import CatGan, CatGanModel, conditional_entropy, discriminator_loss, generator_loss
from training.study.baselines.catgan import marginal_entropy as marginal

CERTAIN = torch.eye(4)
GUESS = torch.full((4, 4), 0.25)
ONE_CATEGORY = torch.tensor([[1.0, 0, 0, 0]]).repeat(4, 1)


def test_entropies_by_hand():
    """One certain cell and one that is split in two: the mean cell is (3/4, 1/4)."""
    probabilities = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    assert conditional_entropy(probabilities).item() == pytest.approx(math.log(2) / 2)
    assert marginal(probabilities).item() == pytest.approx(math.log(4) - 0.75 * math.log(3))


def test_d_is_best_when_sure_of_real_cells_in_all_categories_and_unsure_of_generated_ones():
    assert discriminator_loss(CERTAIN, GUESS).item() == pytest.approx(-2 * math.log(4))
    assert discriminator_loss(GUESS, GUESS).item() == pytest.approx(-math.log(4))
    assert discriminator_loss(CERTAIN, CERTAIN).item() == pytest.approx(-math.log(4))
    assert discriminator_loss(ONE_CATEGORY, CERTAIN).item() == pytest.approx(0, abs=1e-6)


def test_g_is_best_when_d_is_sure_of_its_cells_in_all_categories():
    assert generator_loss(CERTAIN).item() == pytest.approx(-math.log(4))
    assert generator_loss(GUESS).item() == pytest.approx(0, abs=1e-6)
    assert generator_loss(ONE_CATEGORY).item() == pytest.approx(0, abs=1e-6)


def test_d_answers_alike_however_a_cell_lies():
    torch.manual_seed(0)
    classifier = CatGanModel(5).classifier.eval()
    cells = torch.rand(3, 3, 32, 32) * 2 - 1
    answers = classifier(cells)
    assert answers.sum(dim=1).tolist() == pytest.approx([1, 1, 1])
    assert torch.allclose(answers, classifier(cells.rot90(dims=(2, 3))), atol=1e-6)
    assert not torch.allclose(answers, classifier(cells.flip(0)), atol=1e-6)


def test_losses_start_at_a_guess_and_move(three_kinds):
    system = CatGan(5, 0, iterations=20)
    system.fit(placed(three_kinds))
    notes = system.notes()
    assert notes["iterations"] == 20
    assert notes["real_entropy"] < notes["fake_entropy"] <= math.log(5) + 1e-3
    assert notes["real_marginal_entropy"] > notes["real_entropy"]


def test_same_seed_same_clusters(three_kinds):
    fitted = [CatGan(3, seed, iterations=4) for seed in (1, 1, 2)]
    for system in fitted:
        system.fit(placed(three_kinds))
    first, again, other = (system.notes() for system in fitted)
    assert first == again != other
    clusters = [system.clusters(three_kinds) for system in fitted[:2]]
    assert np.array_equal(*clusters)
    assert clusters[0].dtype == np.int64
    assert set(clusters[0]) <= {0, 1, 2}
