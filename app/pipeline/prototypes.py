"""Prototypes: cells of a cluster that the generator draws (paper §III-A2, Fig. 3b)."""

from __future__ import annotations

import math

import numpy as np

from app.pipeline.bundle.load import Bundle
from app.pipeline.crops import CROP_PX, WHITE, from_network, pictures
from app.pipeline.errors import InvalidParameter, UnknownCluster
from app.pipeline.types import Float32Array, Int64Array, UInt8Array

MAX_PROTOTYPES = 64
MAX_SEED = 2**32 - 1


def draw_noise(n: int, latent_size: int, seed: int) -> Float32Array:
    """Return the noise z of n prototypes. The first rows do not depend on n.

    Args:
        n: number of rows.
        latent_size: Z, the length of z.
        seed: 0 … 2³² − 1.

    Returns:
        (n, Z) float32, standard normal.
    """
    return np.random.default_rng(seed).standard_normal((n, latent_size), dtype=np.float32)


def prototypes(bundle: Bundle, cluster: int, n: int, seed: int) -> UInt8Array:
    """Generate n cells of one cluster: G([one-hot c, z]).

    Args:
        bundle: its backend computes G, and its manifest has K and Z.
        cluster: 0 … K − 1.
        n: 1 … MAX_PROTOTYPES.
        seed: 0 … MAX_SEED; the same seed gives the same cells.

    Returns:
        (n, 32, 32, 3) uint8 RGB.

    Raises:
        UnknownCluster: `cluster` is outside 0 … K − 1.
        InvalidParameter: `n` or `seed` is outside its range.
    """
    n_clusters = bundle.manifest.n_clusters
    if not 0 <= cluster < n_clusters:
        raise UnknownCluster(f"The bundle's clusters are 0 to {n_clusters - 1}, found {cluster}.")
    if not 1 <= n <= MAX_PROTOTYPES:
        raise InvalidParameter(f"n must be 1 to {MAX_PROTOTYPES}, found {n}.")
    if not 0 <= seed <= MAX_SEED:
        raise InvalidParameter(f"seed must be 0 to {MAX_SEED}, found {seed}.")
    latent = join_latent(np.full(n, cluster), draw_noise(n, bundle.manifest.latent_size, seed), n_clusters)
    return pictures(from_network(bundle.backend.generate(latent)))


def join_latent(clusters: Int64Array, noise: Float32Array, n_clusters: int) -> Float32Array:
    """Return the generator's input [one-hot c, z].

    Args:
        clusters: (n,) int64, 0 … K − 1.
        noise: (n, Z) float32.
        n_clusters: K.

    Returns:
        (n, K + Z) float32.
    """
    return np.concatenate([np.eye(n_clusters, dtype=np.float32)[clusters], noise], axis=1)


def prototype_grid(bundle: Bundle, rows: int, seed: int) -> UInt8Array:
    """Generate the paper's grid (Fig. 5): one column for each cluster, and the same z along a row.

    Args:
        bundle: its backend computes G, and its manifest has K and Z.
        rows: 1 … MAX_PROTOTYPES.
        seed: 0 … MAX_SEED; the same seed gives the same cells.

    Returns:
        (rows, K, 32, 32, 3) uint8 RGB.

    Raises:
        InvalidParameter: `rows` or `seed` is outside its range.
    """
    return np.stack([prototypes(bundle, cluster, rows, seed) for cluster in range(bundle.manifest.n_clusters)], axis=1)


def tile_grid(cells: UInt8Array) -> UInt8Array:
    """Lay (R, C, 32, 32, 3) cells out as one (R · 32, C · 32, 3) image."""
    rows, columns = cells.shape[:2]
    return np.ascontiguousarray(cells.transpose(0, 2, 1, 3, 4).reshape(rows * CROP_PX, columns * CROP_PX, 3))


def square_grid(cells: UInt8Array) -> UInt8Array:
    """Lay (n, 32, 32, 3) cells out as a near-square image, the places left over white."""
    columns = math.ceil(math.sqrt(len(cells)))
    missing = -len(cells) % columns
    padded = np.concatenate([cells, np.full((missing, *cells.shape[1:]), WHITE, np.uint8)])
    return tile_grid(padded.reshape(-1, columns, *cells.shape[1:]))
