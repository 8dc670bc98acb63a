import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from training.errors import DivergedError
from training.study.baselines import dec
from training.study.baselines.dec import Dec, fit_dec, target_distribution

N_EACH = 60


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(dec, "HIDDEN", (16, 16, 32))
    monkeypatch.setattr(dec, "PRETRAINING_ITERATIONS", 60)


@pytest.fixture
def groups() -> np.ndarray:
    """(180, 12) float32: three groups, far apart."""
    random = np.random.default_rng(0)
    centres = np.repeat(random.normal(0, 2, (3, 12)), N_EACH, axis=0)
    return (centres + random.normal(0, 0.3, centres.shape)).astype(np.float32)


def test_target_of_two_cells():
    """By hand: q² / f is .64/1, .04/1 and .04/1, .64/1, for f = 1 and 1."""
    q = torch.tensor([[0.8, 0.2], [0.2, 0.8]])
    assert target_distribution(q).numpy() == pytest.approx(np.array([[16, 1], [1, 16]]) / 17)


def test_target_weighs_against_a_large_cluster():
    """An undecided cell is drawn to the smaller cluster."""
    q = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.5, 0.5]])
    assert target_distribution(q)[2].argmax() == 1


def test_similarity_falls_with_the_squared_distance():
    """A cell at distance 0 and √3 of two centres has similarities 1 and 1/4."""
    model = Dec(4, 2)
    x = torch.ones(1, 4)
    with torch.no_grad():
        model.centres[:] = model.encoder(x)
        model.centres[1, 0] += 3**0.5
        assert model.soft_clusters(x).numpy() == pytest.approx(np.array([[0.8, 0.2]]), abs=1e-5)


def test_groups_become_clusters(quick, groups):
    fitted = fit_dec(groups, 3, seed=0)
    clusters = fitted.predict(torch.from_numpy(groups)).argmax(dim=1).numpy()
    assert adjusted_rand_score(np.repeat(np.arange(3), N_EACH), clusters) == 1
    assert fitted.changed == 0
    assert 1 <= fitted.rounds < dec.MAX_ROUNDS


def test_a_seed_gives_the_same_clusters_and_leaves_other_randomness_alone(quick, groups):
    x = torch.from_numpy(groups)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, again = fit_dec(groups, 3, seed=1).predict(x), fit_dec(groups, 3, seed=1).predict(x)
    assert torch.equal(first, again)
    assert torch.equal(torch.rand(1), expected)
    assert not torch.equal(first, fit_dec(groups, 3, seed=2).predict(x))


def test_a_loss_that_is_not_finite_is_told(quick, groups):
    groups[0, 0] = np.inf
    with pytest.raises(DivergedError, match="DEC diverged"):
        fit_dec(groups, 3, seed=0)
