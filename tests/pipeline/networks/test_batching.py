import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from app.pipeline.networks.backend import Described
from app.pipeline.networks.batching import BatchedBackend
from app.pipeline.networks.encode import encode
from tests.fakes import FakeBackend

CALLERS = 6
LONG = 60
"""Seconds: a wait that a test would time out in, so that what ends it early is what is tested."""


def some_crops(n, seed):
    return np.random.default_rng(seed).uniform(-1, 1.5, (n, 3, 32, 32)).clip(-1, 1).astype(np.float32)


class Seeing(FakeBackend):
    """Has features: the first pixels of a crop."""

    def describe(self, crops, precision="full"):
        return replace(super().describe(crops, precision), features=crops[:, 0, 0, :6])


def together(batched, crops):
    """Every caller on a thread of its own, all at once."""
    start = threading.Barrier(len(crops))

    def call(own):
        start.wait()
        return batched.describe(own)

    with ThreadPoolExecutor(len(crops)) as pool:
        return [future.exception() or future.result() for future in [pool.submit(call, own) for own in crops]]


def test_each_caller_gets_what_it_would_get_alone():
    crops = [some_crops(n + 1, n) for n in range(CALLERS)]
    for own, found in zip(crops, together(BatchedBackend(Seeing()), crops), strict=True):
        expected = Seeing().describe(own)
        np.testing.assert_array_equal(found.cluster_probs, expected.cluster_probs)
        np.testing.assert_array_equal(found.surprise, expected.surprise)
        np.testing.assert_array_equal(found.features, expected.features)


def test_concurrent_calls_become_one():
    backend = FakeBackend()
    crops = [some_crops(4, n) for n in range(CALLERS)]
    together(BatchedBackend(backend, wait_s=LONG, max_crops=4 * CALLERS), crops)
    assert backend.batches == [4 * CALLERS]


def test_call_is_bounded_and_what_does_not_fit_is_asked_next():
    backend = FakeBackend()
    together(BatchedBackend(backend, wait_s=0.2, max_crops=10), [some_crops(4, n) for n in range(CALLERS)])
    assert sum(backend.batches) == 4 * CALLERS
    assert max(backend.batches) <= 10


def test_caller_with_more_than_fits_is_served_alone_and_whole():
    backend = FakeBackend()
    found = BatchedBackend(backend, wait_s=LONG, max_crops=10).describe(some_crops(25, 0))
    assert (len(found.cluster_probs), found.features) == (25, None)
    assert backend.batches == [25]


class Failing(FakeBackend):
    """Fails as often as it is told, then works."""

    def __init__(self, failures):
        super().__init__()
        self.failures = failures

    def describe(self, crops, precision="full"):
        if self.failures:
            self.failures -= 1
            raise MemoryError("out of memory")
        return super().describe(crops, precision)


def test_error_reaches_every_caller_of_that_call_and_none_of_the_next():
    batched = BatchedBackend(Failing(1), wait_s=LONG, max_crops=4 * CALLERS)
    crops = [some_crops(4, n) for n in range(CALLERS)]
    answers = together(batched, crops)
    assert [type(answer) for answer in answers] == [MemoryError] * CALLERS
    assert all(isinstance(answer, Described) for answer in together(batched, crops))


class Interrupted(FakeBackend):
    """Its first caller is stopped by what is no error of the backend's."""

    def describe(self, crops, precision="full"):
        self.batches.append(len(crops))
        if len(self.batches) == 1:
            raise KeyboardInterrupt
        return super().describe(crops, precision)


def test_nobody_hangs_when_the_caller_that_asks_for_all_is_stopped():
    crops = [some_crops(4, n) for n in range(2)]
    answers = together(BatchedBackend(Interrupted(), wait_s=0.5, max_crops=8), crops)
    assert sorted(type(answer).__name__ for answer in answers) == ["Described", "KeyboardInterrupt"]


def test_it_is_a_backend_like_the_one_it_holds():
    backend = FakeBackend()
    batched = BatchedBackend(backend, wait_s=0)
    crops = np.full((3, 32, 32, 3), 90, np.uint8)
    np.testing.assert_array_equal(encode(crops, batched, 5).surprise, encode(crops, backend, 5).surprise)
    latent = np.zeros((2, 13), np.float32)
    np.testing.assert_array_equal(batched.generate(latent), backend.generate(latent))
    assert (batched.name, batched.device, batched.precisions) == (backend.name, backend.device, backend.precisions)


@pytest.mark.parametrize(("device", "is_batched"), [("cuda", True), ("cpu", False)])
def test_calls_are_put_together_on_a_gpu_only(shipped_bundle, monkeypatch, device, is_batched):
    from app.pipeline.bundle.load import read_manifest
    from app.pipeline.networks import open as opening

    class Opened(FakeBackend):
        def __init__(self, *_, **__):
            super().__init__()
            self.device = device

    monkeypatch.setattr(opening, "OnnxBackend", Opened)
    opened = opening.open_backend(shipped_bundle, read_manifest(shipped_bundle)[0])
    assert isinstance(opened, BatchedBackend) == is_batched
