"""Cells that can be named: what the analysis of a tile gives of each, and what the store gives back of all."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from app.pipeline.bundle.load import Bundle
from app.pipeline.cell_types import neighbour_means
from app.pipeline.crops import crop_cells
from app.pipeline.errors import InvalidParameter
from app.pipeline.manifest import Manifest
from app.pipeline.measure.table import MEASUREMENTS
from app.pipeline.networks.encode import rounded_features
from app.pipeline.run import Analysis, Stages
from app.pipeline.types import Float32Array, Float64Array, Int64Array, UInt8Array

Float16Array = NDArray[np.float16]
Outline = list[list[list[float]]]
"""Closed rings of points x, y: the outer one, then those of holes."""
ID_LENGTH = 32
"""Hexadecimal digits of the id of a cell."""
DECIMALS = 3
"""Decimals of the points of an outline, px."""


@dataclass(frozen=True, slots=True)
class Review:
    """The cells of a bundle that are reviewed together: cells that other networks found are never mixed with them.

    Attributes:
        bundle: name of the bundle.
        sha256: hex digest of its manifest.
    """

    bundle: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ReviewTile:
    """A tile that was put into the review.

    Attributes:
        sha256: hex digest of the uploaded bytes.
        review: the bundle that found its cells.
        name: what people call it; empty if nobody said.
        group: what is left out together with it when a classifier is validated; None means the tile alone.
        width: width, px.
        height: height, px.
        mpp: µm per pixel; None if it is not known.
        added: when it was put in, UTC.
        by: name of the key that it came with; None if the service asks for no key.
        n_cells: how many cells can be named.
    """

    sha256: str
    review: Review
    name: str
    group: str | None
    width: int
    height: int
    mpp: float | None
    added: datetime
    by: str | None
    n_cells: int


@dataclass(frozen=True, slots=True)
class NewCells:
    """The cells of one tile that are no outliers; row i of every array is one of them.

    Attributes:
        ids: N ids, 32 hexadecimal digits each.
        numbers: (N,) int64, number of the cell among all cells of the tile.
        crops: (N, 32, 32, 7) uint8; see `crops.crop_cells`.
        features: (N, F) float16.
        neighbours: (N, F) float16, NaN where a cell is alone in its tile; see `cell_types.neighbour_means`.
        measured: (N, M) float32, in the order of the table of measurements; NaN where one is missing.
        centroids: (N, 2) float64 x, y in px of the upload.
        outlines: N outlines in px of the upload.
        clusters: (N,) int64.
        probabilities: (N,) float32, that of the cluster.
        margins: (N,) float32, by how much the largest probability exceeds the second one.
    """

    ids: list[str]
    numbers: Int64Array
    crops: UInt8Array
    features: Float16Array
    neighbours: Float16Array
    measured: Float32Array
    centroids: Float64Array
    outlines: list[Outline]
    clusters: Int64Array
    probabilities: Float32Array
    margins: Float32Array

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.ids)

    @classmethod
    def of(cls, analysis: Analysis, stages: Stages, sha256: str) -> NewCells:
        """Return what is kept of the cells of an analysed tile.

        Args:
            analysis: the tile, analysed by the full network of a bundle with features.
            stages: its crops.
            sha256: what identifies the bundle; see `Review`.
        """
        kept = np.flatnonzero(~analysis.proportions.outlier)
        crops = stages.crops
        if (
            crops.shape[-1] == 3
        ):  # A person is shown what lies round the nucleus even if the bundle does not look at it.
            crops = crop_cells(stages.stains.normalised, stages.nuclei, "surroundings")
        # A tile without a cell has no features at all.
        features = np.zeros((0, 0), np.float32) if analysis.features is None else analysis.features
        near = neighbour_means(features, analysis.cells.centroids)
        probabilities = np.sort(analysis.cells.cluster_probs, axis=1)
        polygons = analysis.cells.polygons
        return cls(
            ids=[cell_id(analysis.tile.sha256, sha256, int(number)) for number in kept],
            numbers=kept.astype(np.int64),
            crops=crops[kept],
            features=rounded_features(features)[kept],
            neighbours=rounded_features(near.astype(np.float32))[kept],
            measured=analysis.measurements.values[kept].astype(np.float32),
            centroids=analysis.cells.centroids[kept],
            outlines=[[ring.round(DECIMALS).tolist() for ring in polygons[i]] for i in kept],
            clusters=analysis.proportions.clusters[kept],
            probabilities=probabilities[kept, -1],
            margins=probabilities[kept, -1] - probabilities[kept, -2],
        )


@dataclass(frozen=True)
class Candidates:
    """All cells of one review, without their pictures; row i of every array is one of them.

    Attributes:
        ids: N ids.
        tiles: N checksums of their tiles.
        clusters: (N,) int64.
        probabilities: (N,) float32, that of the cluster.
        margins: (N,) float32, by how much the largest probability exceeds the second one.
        features: (N, F) float16.
        neighbours: (N, F) float16; see `NewCells`.
        measured: (N, M) float32; column j is MEASUREMENTS[j], NaN where it is missing.
    """

    ids: list[str]
    tiles: list[str]
    clusters: Int64Array
    probabilities: Float32Array
    margins: Float32Array
    features: Float16Array
    neighbours: Float16Array
    measured: Float32Array

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.ids)

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of each cell, by its id."""
        return {name: row for row, name in enumerate(self.ids)}

    @cached_property
    def shape(self) -> Shape:
        """Where the cells lie in the space of features."""
        return Shape.of(self.features, self.clusters)


@dataclass(frozen=True, slots=True)
class Shape:
    """Where cells lie in the space of their standardised features.

    Attributes:
        distances: (N,) float32, from the mean of the cell's cluster.
        places: (N, 2) float32, on the first two principal components.
    """

    distances: Float32Array
    places: Float32Array

    @classmethod
    def of(cls, features: Float16Array, clusters: Int64Array) -> Shape:
        """Return where N cells lie.

        Args:
            features: (N, F).
            clusters: (N,).
        """
        if len(features) == 0:
            return cls(np.zeros(0, np.float32), np.zeros((0, 2), np.float32))
        values = features.astype(np.float32)
        values -= values.mean(axis=0, dtype=np.float64)
        spread = values.std(axis=0, dtype=np.float64)
        values /= np.where(spread > 0, spread, 1)
        distances = np.zeros(len(values), np.float32)
        for cluster in np.unique(clusters):
            members = clusters == cluster
            distances[members] = np.linalg.norm(values[members] - values[members].mean(axis=0), axis=1)
        _, axes = np.linalg.eigh((values.T @ values).astype(np.float64))
        first = axes[:, ::-1][:, :2]
        # An axis has no direction of its own: the largest number of each is made positive, so that places stay.
        first = first * np.sign(first[np.abs(first).argmax(axis=0), range(first.shape[1])])
        return cls(distances, (values @ first.astype(np.float32))[:, :2])


def cell_id(tile: str, bundle: str, number: int) -> str:
    """Return the id of a cell, which is the same each time the same bundle finds it.

    Args:
        tile: hex digest of the tile.
        bundle: hex digest of the bundle.
        number: number of the cell in the tile.
    """
    return hashlib.sha256(f"{tile}/{bundle}/{number}".encode()).hexdigest()[:ID_LENGTH]


def check_reviewable(bundle: Bundle) -> None:
    """Check that cells of a bundle can be reviewed.

    Raises:
        InvalidParameter: it gives no features of cells.
    """
    if not bundle.manifest.n_features:
        raise InvalidParameter(
            f"The bundle {bundle.manifest.name} gives no features of cells, because its network Q has no encoder; "
            "cells can be reviewed with bundles that do."
        )


def review_of(bundle: Bundle) -> Review:
    """Return the review to which the cells of a bundle belong; see `review_of_manifest`."""
    return review_of_manifest(bundle.manifest, bundle.sha256)


def review_of_manifest(manifest: Manifest, sha256: str) -> Review:
    """Return the review to which the cells of a bundle belong.

    A bundle with a cell classifier has the networks of the bundle that it was taught on, and finds the same cells; it
    shares the review of that bundle, so that more cells can be named for the next version.

    Args:
        manifest: of the bundle.
        sha256: hex digest of the manifest.
    """
    classifier = manifest.cell_classifier
    return Review(manifest.name, classifier.source.bundle_sha256 if classifier else sha256)


MEASURED = tuple(measurement.name for measurement in MEASUREMENTS)
"""The names of the columns of `measured`."""
