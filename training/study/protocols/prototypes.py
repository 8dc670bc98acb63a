"""How much the prototypes of each cluster of a bundle are like its real cells, and whether they are copies of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from app.pipeline.bundle.load import Bundle
from app.pipeline.crops import from_network, pictures, seen, to_network
from app.pipeline.networks.encode import encode
from app.pipeline.prototypes import draw_noise, join_latent
from app.pipeline.types import Float32Array, Int64Array, UInt8Array
from training.errors import DataError
from training.gan.checks import PROTOTYPES, diversity
from training.metrics.prototypes import kid, nearest_real, told_apart

GENERATED = 400
"""Cells that are generated of each cluster."""
MOST_REAL = 1000
"""Real cells of each cluster that features are computed of, chosen at random; the network takes 10 ms for a cell."""
FEWEST_REAL = 20
"""A cluster with fewer real cells is not compared with them."""
SHOWN = 6
"""Cells of each cluster that are drawn."""
SEED = 0

Describe = Callable[[UInt8Array], Float32Array]
Pairs = list[tuple[UInt8Array, UInt8Array]]


def evaluate_prototypes(
    crops: UInt8Array, bundle: Bundle, describe: Describe, track: Callable[[Iterable[int]], Iterable[int]] = iter
) -> tuple[list[dict[str, Any]], Pairs]:
    """Compare generated with real cells, cluster by cluster.

    Args:
        crops: (N, 32, 32, 7) uint8 real cells.
        bundle: bundle that generates cells, and that says which cluster the real ones belong to.
        describe: (N, 32, 32, 3) uint8 → (N, D) float32, features of a network that neither G nor Q has seen.
        track: wraps the clusters, to show progress.

    Returns:
        Figures of each cluster, and for each that has at least FEWEST_REAL real cells, SHOWN generated cells with the
        nearest real cell of each, both (SHOWN, 32, 32, C).
        The figures: `real`, the number of real cells; `fidelity`, the share of generated cells that Q puts into the
        cluster; `diversity`, see `training.gan.checks`. `kid` and `kid_sd`, generated against real, and `kid_real` and
        `kid_real_sd`, random halves of the real cells; `told_apart`; `nearest` and `nearest_real`, the median distance
        of a generated and of a real cell to the nearest real one, and `closest` and `closest_real`, the smallest.
        A cluster with too few real cells has no more than the first two.

    Raises:
        DataError: no cluster has enough of them.
    """
    crops = seen(crops, bundle.manifest.architecture.crops)
    n_clusters = bundle.manifest.n_clusters
    clusters = _clusters(crops, bundle)
    generated = [_generate(bundle, cluster) for cluster in range(n_clusters)]
    spread = diversity(
        np.stack([to_network(some[:PROTOTYPES]).reshape(PROTOTYPES, -1) for some in generated]),
        to_network(crops).reshape(len(crops), -1),
        clusters,
        SEED,
    )
    rows: list[dict[str, Any]] = []
    pairs: Pairs = []
    for cluster in track(range(n_clusters)):
        real, drawn = crops[clusters == cluster], generated[cluster]
        row: dict[str, Any] = {"real": len(real), "fidelity": float((_clusters(drawn, bundle) == cluster).mean())}
        if len(real) >= FEWEST_REAL:
            likeness, neighbours = _compare(pictures(real), pictures(drawn), describe)
            row |= {"diversity": spread[cluster], **likeness}
            pairs.append((drawn[:SHOWN], real[neighbours[:SHOWN]]))
        rows.append(row)
    if not pairs:
        raise DataError(f"No cluster has {FEWEST_REAL} of the {len(crops)} cells; give more cells.")
    return rows, pairs


def _clusters(crops: UInt8Array, bundle: Bundle) -> Int64Array:
    found: Int64Array = encode(crops, bundle.backend, bundle.manifest.n_clusters).cluster_probs.argmax(axis=1)
    return found


def _generate(bundle: Bundle, cluster: int) -> UInt8Array:
    manifest = bundle.manifest
    noise = draw_noise(GENERATED, manifest.latent_size, SEED)
    latent = join_latent(np.full(GENERATED, cluster), noise, manifest.n_clusters)
    return from_network(bundle.backend.generate(latent))


def _compare(real: UInt8Array, generated: UInt8Array, describe: Describe) -> tuple[dict[str, float], Int64Array]:
    """Return the figures of one cluster, and the index of the nearest real cell of each generated one."""
    nearest = nearest_real(generated, real)
    # In random order, because cells of one tile follow each other and are alike.
    chosen = np.random.default_rng(SEED).permutation(len(real))[:MOST_REAL]
    of_real, of_generated = describe(real[chosen]), describe(generated)
    half = len(chosen) // 2
    against_real, between_halves = kid(of_generated, of_real), kid(of_real[:half], of_real[half:])
    return {
        "kid": against_real[0],
        "kid_sd": against_real[1],
        "kid_real": between_halves[0],
        "kid_real_sd": between_halves[1],
        "told_apart": told_apart(of_real, of_generated, SEED),
        "nearest": float(np.median(nearest.distance)),
        "nearest_real": float(np.median(nearest.between_real)),
        "closest": float(nearest.distance.min()),
        "closest_real": float(nearest.between_real.min()),
    }, nearest.real
