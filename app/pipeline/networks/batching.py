"""Joins concurrent calls of Q into one, because a GPU takes about as long for many crops as for a few."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from app.pipeline.networks.backend import Backend, Described, Precision
from app.pipeline.types import Float32Array

WAIT_S = 0.005
"""How long a caller waits for more callers, seconds."""
MAX_CROPS = 4096
"""Most crops that are joined into one call. A single caller may bring more."""


@dataclass(eq=False, slots=True)
class _Request:
    """The crops of one caller, and later their result or error."""

    crops: Float32Array
    precision: Precision
    described: Described | None = None
    error: Exception | None = None


class BatchedBackend:
    """A backend that asks Q once about the crops of several callers.

    There is no thread of its own: the callers take turns. A caller whose turn it is waits a moment for more callers,
    asks Q about the crops of all of them, and gives each its rows. If it is interrupted, the remaining callers ask for
    themselves when their turns come.

    Args:
        backend: the backend that computes; its `describe` is called by one thread at a time.
        wait_s: how long to wait for more callers, seconds.
        max_crops: most crops that are joined into one call.
    """

    def __init__(self, backend: Backend, wait_s: float = WAIT_S, max_crops: int = MAX_CROPS) -> None:
        self.name, self.device, self.precisions = backend.name, backend.device, backend.precisions
        self._backend = backend
        self._wait_s, self._max_crops = wait_s, max_crops
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._waiting: list[_Request] = []

    def describe(self, crops: Float32Array, precision: Precision = "full") -> Described:
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
        assert request.described is not None  # noqa: S101 - for mypy: there is a result or an error
        return request.described

    def generate(self, latent: Float32Array) -> Float32Array:
        """See `Backend`."""
        return self._backend.generate(latent)

    def _collect(self, first: _Request) -> list[_Request]:
        """Wait for more requests, and take `first` and those that fit into one call with it off the list."""
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
            ends = np.cumsum([len(request.crops) for request in requests]).tolist()
            for request, end in zip(requests, ends, strict=True):
                request.described = described.rows(slice(end - len(request.crops), end))
        except Exception as error:  # any error of the call is an error of every caller in it
            for request in requests:
                request.error = error
