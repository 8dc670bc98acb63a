import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from app.pipeline.crops import pictures
from tests.training.study.drawn_cells import placed
from training.errors import DivergedError
from training.study.baselines import hog_dec
from training.study.baselines.hog_dec import Dec, HogDec, fit_dec, hog_features, target_distribution


def test_a_cell_has_2048_gradient_values(three_kinds):
    features = hog_features(pictures(three_kinds[:3]))
    assert features.shape == (3, 2048)
    assert features.dtype == np.float32
    assert 0 <= features.min() < features.max() <= 1


def test_gradients_lie_at_the_edge_of_the_nucleus():
    """A black square of 16 px: its edges lie in a ring of 5 × 5 cells, whose middle is flat as the canvas is."""
    crop = np.full((1, 32, 32, 3), 255, np.uint8)
    crop[:, 8:24, 8:24] = 0
    blocks = hog_features(crop).reshape(8, 8, -1).any(axis=-1)
    expected = np.zeros((8, 8), bool)
    expected[1:7, 1:7] = True
    expected[3:5, 3:5] = False
    assert np.array_equal(blocks, expected)


def test_a_blank_crop_has_no_gradient():
    assert not hog_features(np.full((1, 32, 32, 3), 255, np.uint8)).any()


def test_kinds_become_clusters(three_kinds, kinds, monkeypatch):
    monkeypatch.setattr(hog_dec, "HIDDEN", (64, 32, 64))
    monkeypatch.setattr(hog_dec, "PRETRAINING_ITERATIONS", 60)
    system = HogDec(3, 0)
    system.fit(placed(three_kinds))
    assert adjusted_rand_score(kinds, system.clusters(three_kinds)) > 0.9
    notes = system.notes()
    assert notes["largest_share"] == pytest.approx(1 / 3, abs=0.05)
    assert np.isfinite(list(notes.values())).all()


N_EACH = 60


@pytest.fixture
def quick_dec(monkeypatch):
    monkeypatch.setattr(hog_dec, "HIDDEN", (16, 16, 32))
    monkeypatch.setattr(hog_dec, "PRETRAINING_ITERATIONS", 60)


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


def test_groups_become_clusters(quick_dec, groups):
    fitted = fit_dec(groups, 3, seed=0)
    clusters = fitted.predict(torch.from_numpy(groups)).argmax(dim=1).numpy()
    assert adjusted_rand_score(np.repeat(np.arange(3), N_EACH), clusters) == 1
    assert fitted.changed == 0
    assert 1 <= fitted.rounds < hog_dec.MAX_ROUNDS


def test_a_seed_gives_the_same_clusters_and_leaves_other_randomness_alone(quick_dec, groups):
    x = torch.from_numpy(groups)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, again = fit_dec(groups, 3, seed=1).predict(x), fit_dec(groups, 3, seed=1).predict(x)
    assert torch.equal(first, again)
    assert torch.equal(torch.rand(1), expected)
    assert not torch.equal(first, fit_dec(groups, 3, seed=2).predict(x))


def test_a_loss_that_is_not_finite_is_an_error(quick_dec, groups):
    groups[0, 0] = np.inf
    with pytest.raises(DivergedError, match="DEC diverged"):
        fit_dec(groups, 3, seed=0)
