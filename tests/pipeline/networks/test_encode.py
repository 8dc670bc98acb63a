import numpy as np
import pytest

from app.pipeline.networks.encode import encode
from tests.fakes import FakeBackend


def some_crops(n):
    crops = np.full((n, 32, 32, 3), 255, np.uint8)
    for i, side in enumerate(np.random.default_rng(0).integers(1, 33, n)):
        crops[i, :side, :side] = 80
    return crops


@pytest.mark.parametrize("n", [1, 255, 256, 257, 600])
def test_batches_do_not_change_any_cell(n):
    crops = some_crops(n)
    backend = FakeBackend()
    together = encode(crops, backend, 5)
    alone = [encode(crops[i : i + 1], FakeBackend(), 5) for i in range(n)]
    np.testing.assert_array_equal(together.cluster_probs, np.concatenate([one.cluster_probs for one in alone]))
    np.testing.assert_array_equal(together.surprise, np.concatenate([one.surprise for one in alone]))
    assert sum(backend.batches) == n
    assert max(backend.batches) <= 256


def test_backend_without_a_fast_network_is_asked_in_full():
    assert encode(some_crops(3), FakeBackend(), 5, "fast").precision == "full"
    assert encode(some_crops(0), FakeBackend(), 5, "fast").precision == "full"


def test_no_cells_need_no_network():
    backend = FakeBackend()
    none = encode(np.zeros((0, 32, 32, 3), np.uint8), backend, 5)
    assert (none.cluster_probs.shape, none.surprise.shape) == ((0, 5), (0,))
    assert backend.batches == []
