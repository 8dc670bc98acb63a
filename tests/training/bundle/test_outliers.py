import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from app.pipeline.crops import to_network
from app.pipeline.networks.architecture import Encoder, EncoderQ, map_statistics
from app.pipeline.quality.novelty import tile_surprise
from training.bundle.outliers import fit_outliers, fit_surprise
from training.gan.trainer import Trainer


@pytest.fixture(scope="module")
def critic(without_encoder, cells):
    return Trainer(without_encoder, cells.crops, torch.device("cpu")).nets.ema_q


def two_gaussians(n=4000):
    """A round cluster at 0 and a long one at (4, 4, 0), twice as many of the second."""
    random = np.random.default_rng(0)
    clusters = np.repeat([0, 1], [n // 3, n - n // 3])
    spread = np.where(clusters[:, None] == 0, [1.0, 1, 1], [0.5, 3, 1])
    centre = np.where(clusters[:, None] == 0, [0.0, 0, 0], [4, 4, 0])
    return centre + spread * random.normal(size=(n, 3)), clusters


def test_surprise_is_the_negative_log_density_of_the_mixture_but_for_a_constant():
    statistics, clusters = two_gaussians()
    found = fit_surprise(statistics, clusters, 2, components=3)
    points = np.array([[0, 0, 0], [4, 4, 0], [4, 10, 0], [2, 2, 3], [3, 0, 0]], float)
    density = multivariate_normal([0, 0, 0], np.eye(3)).pdf(points) / 3
    density += multivariate_normal([4, 4, 0], np.diag([0.25, 9, 1])).pdf(points) * 2 / 3
    with torch.no_grad():
        surprise = found(torch.from_numpy(points).float()).numpy()
    np.testing.assert_allclose(surprise - surprise[0], np.log(density[0]) - np.log(density), rtol=0.08, atol=0.25)


def test_cluster_without_cells_attracts_no_cell():
    statistics, clusters = two_gaussians()
    found = fit_surprise(statistics, clusters, 5, components=3)
    with torch.no_grad():
        surprise = found(torch.from_numpy(statistics).float())
    assert torch.isfinite(surprise).all()


def test_channel_that_never_varies_has_no_effect():
    statistics, clusters = two_gaussians()
    dead = np.hstack([statistics, np.full((len(statistics), 1), 7.0)])
    with torch.no_grad():
        one, other = (fit_surprise(dead, clusters, 2, 3)(torch.tensor([[0, 0, 0, last]])) for last in (7.0, 1e3))
    assert torch.equal(one, other)


def test_one_cell_in_a_hundred_of_the_training_cells_is_an_outlier(critic, cells):
    found = fit_outliers(critic, cells.crops, cells.tile_index)
    assert found.outlier.shape == (120,)
    assert found.limits.training_share == pytest.approx(found.outlier.mean())
    assert found.outlier.sum() == 2
    assert 0.05 <= found.limits.max_share <= 1


def test_noise_is_more_surprising_than_any_training_cell(critic, cells):
    found = fit_outliers(critic, cells.crops, cells.tile_index)
    noise = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    again = fit_outliers(critic, cells.crops, cells.tile_index)
    assert again.limits == found.limits
    with torch.no_grad():
        surprise = found.surprise(map_statistics(critic.trunk.maps(torch.from_numpy(to_network(noise)))))
    assert surprise.min() > found.limits.threshold


def test_a_single_tile_is_enough(critic, cells):
    one = cells.tile_index == 0
    assert fit_outliers(critic, cells.crops[one], cells.tile_index[one]).outlier.shape == (40,)


def test_few_cells_of_a_tile_do_not_make_many_outliers_usual(critic, cells):
    """The 120 cells as 30 tiles of four: one of them is a quarter of its tile."""
    found = fit_outliers(critic, cells.crops, np.arange(120) // 4)
    assert found.outlier.any()
    assert found.limits.max_share == 0.05


def test_one_further_tile_in_fifty_is_above_the_limit():
    """Tiles and cells drawn from the model itself; the limits are fitted to twelve tiles at a time."""
    random = np.random.default_rng(0)

    def tile(n_cells):
        return random.normal(7 + random.normal(0, 5), 27, n_cells)

    above = []
    for _ in range(400):
        usual = tile_surprise([tile(300) for _ in range(12)], 12)
        for n_cells in (20, 300):
            limit = usual.mean + np.hypot(usual.tile_margin, usual.cell_margin / n_cells**0.5)
            above += [tile(n_cells).mean() > limit for _ in range(20)]
    # Of 16,000 tiles; those that share a limit agree, so the error is larger than that of as many coins.
    assert np.mean(above) == pytest.approx(0.02, abs=0.006)


def test_a_single_tile_does_not_say_how_tiles_differ(critic, cells):
    one = cells.tile_index == 0
    assert fit_outliers(critic, cells.crops[one], cells.tile_index[one]).limits.tile_surprise is None
    found = fit_outliers(critic, cells.crops, cells.tile_index).limits.tile_surprise
    assert found.tiles == 3
    assert found.tile_margin >= 0
    assert found.cell_margin > 0


@pytest.mark.parametrize("changed", [slice(0, 3), slice(3, 6)], ids=["nucleus", "surroundings"])
def test_cell_whose_nucleus_or_surroundings_have_another_texture_is_an_outlier(changed):
    """All cells are noise of the same kind; on some, one of the two pictures is twice as coarse."""
    random = np.random.default_rng(0)
    crops = random.integers(100, 156, (300, 32, 32, 7), dtype=np.uint8)
    q = EncoderQ(Encoder(7, 4), 2).eval()
    found = fit_outliers(q, crops, np.arange(300) % 5)
    assert found.outlier.mean() == pytest.approx(0.01, abs=0.005)
    coarse = crops[:20].copy()
    coarse[..., changed] = coarse[:, ::2, ::2, changed].repeat(2, axis=1).repeat(2, axis=2)
    with torch.no_grad():
        surprise = found.surprise(torch.from_numpy(to_network(coarse)))
    assert surprise.min() > found.limits.threshold
