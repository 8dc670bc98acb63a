"""Concurrent calls of Q, put together into one. A GPU takes about as long for many crops as for a few."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from app.pipeline.networks.backend import Backend, Precision
from app.pipeline.types import Float32Array

WAIT_S = 0.005
MAX_CROPS = 4096
"""Of one call, but for a caller who alone brings more."""


@dataclass(eq=False, slots=True)
class _Request:
    """One caller's crops, and what became of them."""

    crops: Float32Array
    precision: Precision
    described: tuple[Float32Array, Float32Array] | None = None
    error: Exception | None = None


class Batched:
    """A backend whose Q is asked about the crops of several callers at once.

    Whoever's turn it is waits a moment for others, asks for all, and leaves them their rows. There is no thread to end
    and nobody to wait for in vain: a caller who was not served asks for itself when its turn comes.

    Args:
        backend: computes; its `describe` is called by one thread at a time.
        wait_s: how long to wait for other callers, seconds.
        max_crops: that are put together, at most.
    """

    def __init__(self, backend: Backend, wait_s: float = WAIT_S, max_crops: int = MAX_CROPS) -> None:
        self.name, self.device, self.precisions = backend.name, backend.device, backend.precisions
        self._backend = backend
        self._wait_s, self._max_crops = wait_s, max_crops
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._waiting: list[_Request] = []

    def describe(self, crops: Float32Array, precision: Precision = "full") -> tuple[Float32Array, Float32Array]:
        """See `Backend`; an error of the backend is raised to every caller whose crops were in that call."""
        request = _Request(crops, precision)
        with self._changed:
            self._waiting.append(request)
            self._changed.notify()
        with self._turn:
            if request.described is None and request.error is None:
                self._serve(self._collect(request))
        if request.error is not None:
            raise request.error
        assert request.described is not None  # noqa: S101 - for mypy: there is an answer or an error
        return request.described

    def generate(self, latent: Float32Array) -> Float32Array:
        """See `Backend`."""
        return self._backend.generate(latent)

    def _collect(self, first: _Request) -> list[_Request]:
        """`first`, and who has come by the end of the wait, as far as they fit."""
        with self._changed:
            self._changed.wait_for(lambda: sum(len(r.crops) for r in self._waiting) >= self._max_crops, self._wait_s)
            chosen, n_crops = [first], len(first.crops)
            for request in self._waiting:
                fits = n_crops + len(request.crops) <= self._max_crops
                if request is not first and request.precision == first.precision and fits:
                    chosen.append(request)
                    n_crops += len(request.crops)
            self._waiting = [request for request in self._waiting if request not in chosen]
        return chosen

    def _serve(self, requests: list[_Request]) -> None:
        try:
            crops = np.concatenate([request.crops for request in requests])
            described = self._backend.describe(crops, requests[0].precision)
            ends = np.cumsum([len(request.crops) for request in requests])[:-1]
            rows = zip(*(np.split(output, ends) for output in described), strict=True)
            for request, (cluster_probs, surprise) in zip(requests, rows, strict=True):
                request.described = cluster_probs, surprise
        except Exception as error:  # whatever it is, it is every caller's
            for request in requests:
                request.error = error
