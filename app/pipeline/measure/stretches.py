"""Sums over the values of many owners at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.pipeline.types import Float64Array, Int32Array, Int64Array


@dataclass(frozen=True, slots=True)
class Stretches:
    """Values of N owners, one owner after the other, each with one value at least.

    Attributes:
        first: (N,) int64 index of each owner's first value.
        counts: (N,) int64 number of its values.
    """

    first: Int64Array
    counts: Int64Array

    @classmethod
    def of_counts(cls, counts: Int64Array) -> Stretches:
        """Return the stretches of this many values each."""
        return cls(np.cumsum(counts) - counts, counts)

    def __len__(self) -> int:
        """Number of owners."""
        return int(self.counts.size)

    def owners(self) -> Int32Array:
        """Return (P,) int32 the owner of every value, 0…N − 1."""
        return np.repeat(np.arange(len(self), dtype=np.int32), self.counts)

    def sums(self, values: np.ndarray) -> Float64Array:
        """Return (N,) float64 the sum of each owner's (P,) values; integers are added as integers."""
        if not len(self):
            return np.zeros(0)
        exact = np.float64 if values.dtype.kind == "f" else np.int64
        return np.add.reduceat(values, self.first, dtype=exact).astype(np.float64)

    def means(self, values: np.ndarray) -> Float64Array:
        """Return (N,) float64 the mean of each owner's (P,) values."""
        return self.sums(values) / self.counts

    def largest(self, values: np.ndarray) -> Float64Array:
        """Return (N,) float64 the largest of each owner's (P,) values."""
        return np.maximum.reduceat(values, self.first).astype(np.float64)

    def smallest(self, values: np.ndarray) -> Float64Array:
        """Return (N,) float64 the smallest of each owner's (P,) values."""
        return np.minimum.reduceat(values, self.first).astype(np.float64)
