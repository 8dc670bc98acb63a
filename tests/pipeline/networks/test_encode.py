from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from app.pipeline.crops import to_network
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


def test_features_of_all_batches_are_those_of_the_cells():
    class Seeing(FakeBackend):
        def describe(self, crops, precision="full"):
            return replace(super().describe(crops, precision), features=crops[:, 0, :2, 0])

    crops = some_crops(300)
    np.testing.assert_array_equal(encode(crops, Seeing(), 5).features, to_network(crops)[:, 0, :2, 0])
    assert encode(crops, FakeBackend(), 5).features is None


def test_backend_without_a_fast_network_is_asked_in_full():
    assert encode(some_crops(3), FakeBackend(), 5, "fast").precision == "full"
    assert encode(some_crops(0), FakeBackend(), 5, "fast").precision == "full"


@pytest.mark.parametrize("temperature", [0.5, 0.73, 2.0])
def test_temperature_divides_the_logits_and_keeps_the_cluster(temperature):
    as_is = encode(some_crops(200), FakeBackend(), 5).cluster_probs
    found = encode(some_crops(200), FakeBackend(), 5, temperature=temperature).cluster_probs
    with np.errstate(divide="ignore"):
        expected = softmax(np.log(as_is.astype(float)) / temperature, axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(found.argmax(axis=1), as_is.argmax(axis=1))
    np.testing.assert_array_equal(encode(some_crops(200), FakeBackend(), 5, temperature=1).cluster_probs, as_is)


def test_no_cells_need_no_network():
    backend = FakeBackend()
    none = encode(np.zeros((0, 32, 32, 3), np.uint8), backend, 5)
    assert (none.cluster_probs.shape, none.surprise.shape) == ((0, 5), (0,))
    assert backend.batches == []
