import numpy as np
import pytest

from app.pipeline.encode import encode
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
    probs = encode(crops, backend, 5)
    alone = np.concatenate([encode(crops[i : i + 1], FakeBackend(), 5) for i in range(n)])
    np.testing.assert_array_equal(probs, alone)
    assert sum(backend.batches) == n
    assert max(backend.batches) <= 256


def test_no_cells_need_no_network():
    backend = FakeBackend()
    assert encode(np.zeros((0, 32, 32, 3), np.uint8), backend, 5).shape == (0, 5)
    assert backend.batches == []
