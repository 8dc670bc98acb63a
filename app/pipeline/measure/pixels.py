"""The pixels of all nuclei of a tile, nucleus by nucleus, so that every measurement is one sum over stretches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.pipeline.nuclei.run_lengths import RunLengths
from app.pipeline.types import BoolArray, Float32Array, Float64Array, Int32Array, Int64Array

MIN_PIXELS = 5
"""Pixels that a nucleus needs to have a shape and a spread of densities."""


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

    @property
    def owners(self) -> Int64Array:
        """The owner of every value, 0…N − 1."""
        return np.repeat(np.arange(len(self)), self.counts)

    def sums(self, values: np.ndarray) -> NDArray[np.generic]:
        """Return (N,) the sum of each owner's values, as exact as the type of the values is."""
        return np.asarray(np.add.reduceat(values, self.first)) if len(self) else values[:0]

    def means(self, values: np.ndarray) -> Float64Array:
        """Return (N,) float64 the mean of each owner's values."""
        return np.asarray(self.sums(values.astype(np.float64, copy=False)) / self.counts)


@dataclass(frozen=True, slots=True)
class NuclearPixels:
    """The pixels of N nuclei in a picture that has a frame of background round the tile.

    Attributes:
        labels: (H', W') int32, the label image in its frame.
        places: (P,) int64 index of every pixel in the flattened picture; those of a nucleus in reading order.
        stretches: which places belong to which nucleus.
        frame: width of the frame, px.
    """

    labels: Int32Array
    places: Int64Array
    stretches: Stretches
    frame: int

    @classmethod
    def of(cls, label_image: Int32Array, n_nuclei: int, frame: int) -> NuclearPixels:
        """Gather the pixels of a label image.

        Args:
            label_image: (H, W) int32, 0 = background, 1…N without gaps.
            n_nuclei: N.
            frame: width of the frame, px, at least 1.
        """
        labels = np.pad(label_image, frame)
        flat = labels.ravel()
        begins = np.flatnonzero(np.diff(flat, prepend=0, append=0))
        # A run of background lies between runs of nuclei, or none.
        starts, ends = begins[:-1], begins[1:]
        owners = flat[starts] - 1
        order = np.argsort(owners, kind="stable")
        order = order[np.searchsorted(owners[order], 0) :]
        runs = RunLengths(starts[order], ends[order])
        counts = np.bincount(owners[order], weights=runs.lengths, minlength=n_nuclei).astype(np.int64)
        return cls(labels, runs.places(), Stretches.of_counts(counts), frame)

    @property
    def row(self) -> int:
        """The step from a pixel to the one below it."""
        return int(self.labels.shape[1])

    def same(self, step: int) -> BoolArray:
        """(P,) bool, whether the pixel this step away belongs to the same nucleus.

        Args:
            step: in the flattened picture, no farther than the frame along x and y.
        """
        flat = self.labels.ravel()
        return np.asarray(flat[self.places + step] == flat[self.places])

    def outermost(self) -> BoolArray:
        """(P,) bool, whether one of the four neighbours of a pixel lies outside its nucleus."""
        return ~(self.same(1) & self.same(-1) & self.same(self.row) & self.same(-self.row))

    def framed(self, picture: Float32Array) -> Float32Array:
        """Flatten a picture of the tile in a frame of zeros, so that `places` are indices into it."""
        return np.pad(picture, self.frame).ravel()
