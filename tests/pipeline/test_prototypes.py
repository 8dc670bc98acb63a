from dataclasses import replace

import numpy as np
import pytest

from app.pipeline.crops import from_network
from app.pipeline.errors import InvalidParameter, UnknownCluster
from app.pipeline.prototypes import draw_noise, join_latent, prototype_grid, prototypes, tile_grid
from tests.fakes import FakeBackend


@pytest.fixture
def draw(fake_bundle):
    return lambda cluster=1, n=4, seed=7: prototypes(fake_bundle, cluster, n, seed)


@pytest.mark.parametrize("n", [1, 2, 5, 16])
def test_first_rows_of_noise_do_not_depend_on_how_many_are_drawn(n):
    np.testing.assert_array_equal(draw_noise(n, 32, seed=3), draw_noise(64, 32, seed=3)[:n])


def test_noise_is_standard_normal():
    noise = draw_noise(2000, 32, seed=0)
    assert noise.dtype == np.float32
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02


def test_same_seed_gives_the_same_cells(draw):
    np.testing.assert_array_equal(draw(), draw())
    assert draw().shape == (4, 32, 32, 3)
    assert draw().dtype == np.uint8


def test_fewer_cells_are_the_first_of_more(draw):
    np.testing.assert_array_equal(draw(n=3), draw(n=16)[:3])


def test_other_seed_or_cluster_gives_other_cells(draw):
    assert (draw(seed=8) != draw()).any()
    assert (draw(cluster=2) != draw()).any()


def test_generator_gets_the_clusters_code_and_then_the_noise(fake_bundle):
    class Recorder(FakeBackend):
        def generate(self, latent):
            self.latent = latent
            return super().generate(latent)

    backend = Recorder()
    prototypes(replace(fake_bundle, backend=backend), 3, 6, 7)
    np.testing.assert_array_equal(backend.latent[:, :5], np.tile([0, 0, 0, 1, 0], (6, 1)))
    np.testing.assert_array_equal(backend.latent[:, 5:], draw_noise(6, 8, 7))


def test_people_are_shown_the_nucleus_alone(seeing_bundle):
    """G draws seven channels for Q; the first three are the nucleus on white."""
    generated = from_network(seeing_bundle.backend.generate(join_latent(np.full(4, 1), draw_noise(4, 8, 7), 5)))
    np.testing.assert_array_equal(prototypes(seeing_bundle, 1, 4, 7), generated[..., :3])
    assert prototype_grid(seeing_bundle, 2, 7).shape == (2, 5, 32, 32, 3)


@pytest.mark.parametrize("cluster", [-1, 5, 10**9])
def test_unknown_cluster_is_refused(draw, cluster):
    with pytest.raises(UnknownCluster, match="0 to 4"):
        draw(cluster=cluster)


@pytest.mark.parametrize("n", [-1, 0, 65])
def test_number_of_cells_outside_its_range_is_refused(draw, n):
    with pytest.raises(InvalidParameter, match="n must be"):
        draw(n=n)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_outside_its_range_is_refused(draw, seed):
    with pytest.raises(InvalidParameter, match="seed must be"):
        draw(seed=seed)


def test_seed_may_be_the_largest(draw):
    assert draw(seed=2**32 - 1).shape == (4, 32, 32, 3)


def test_grid_keeps_the_noise_along_a_row_and_the_cluster_along_a_column(fake_bundle, draw):
    grid = prototype_grid(fake_bundle, 3, 7)
    assert grid.shape == (3, 5, 32, 32, 3)
    for cluster in range(5):
        np.testing.assert_array_equal(grid[:, cluster], draw(cluster=cluster, n=3))


def test_grid_is_laid_out_row_by_row():
    cells = np.arange(6, dtype=np.uint8).reshape(2, 3, 1, 1, 1) * np.ones((32, 32, 3), np.uint8)
    image = tile_grid(cells)
    assert image.shape == (64, 96, 3)
    assert image[::32, ::32, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (image[:32, 32:64] == 1).all()
