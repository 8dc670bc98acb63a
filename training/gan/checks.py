"""Has the GAN learned? These figures, on G and Q as they would be served, decide whether a run may be shipped."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.spatial.distance import pdist
from torch import Tensor
from torch.nn import functional

from app.pipeline.crops import to_network
from app.pipeline.networks.architecture import AnyQ, Generator
from app.pipeline.types import Float32Array, Int64Array, UInt8Array
from training.representation.traits import explained_traits

PROTOTYPES = 16
"""Number of cells per cluster that the diversity is measured on."""
DRAWS = 20
"""Number of sets of 16 real cells that the distance between real cells is averaged over."""
CHUNK = 512
"""Number of crops that a network is given at a time."""


def check_model(
    generator: Generator, q: AnyQ, crops: UInt8Array, *, seed: int = 0, per_cluster: int = 400
) -> dict[str, Any]:
    """Measure a generator and a Q.

    Args:
        generator: G, in evaluation mode.
        q: the network whose head is Q.
        crops: (N, 32, 32, 3) uint8 real cells.
        seed: of the fresh z.
        per_cluster: generated cells per cluster for `loss_q` and `fidelity`.

    Returns:
        loss_q: eq. 12 on fresh z. fidelity: (K,) the share of cells G(c, z) that Q puts into c. shares: (K,) the share
        of the real cells that Q puts into each cluster. rotation_agreement: of all pairs of a crop and its rotation by
        90°, 180° or 270°, the share that Q puts into one cluster. diversity: see `diversity`. explained: see
        `explained_traits`.
    """
    k = generator.n_clusters
    random = torch.Generator().manual_seed(seed)
    device = next(generator.parameters()).device
    codes = torch.arange(k).repeat_interleave(per_cluster)
    z = torch.randn(len(codes), generator.latent_size, generator=random)
    latent = torch.cat([functional.one_hot(codes, k).float(), z], dim=1)
    generated = in_chunks(generator, latent.to(device))
    logits = in_chunks(lambda x: q.logits(x), generated)
    hits = (logits.argmax(1).cpu() == codes).float().view(k, per_cluster).mean(1)

    real = torch.from_numpy(to_network(crops)).to(device)
    clusters = assign_clusters(q, real)
    rotated = [assign_clusters(q, torch.rot90(real, quarter, dims=(2, 3))) for quarter in (1, 2, 3)]
    prototypes = generated.cpu().numpy().reshape(k, per_cluster, -1)[:, :PROTOTYPES]
    return {
        "loss_q": float(functional.cross_entropy(logits.cpu(), codes)),
        "fidelity": hits.tolist(),
        "shares": (np.bincount(clusters, minlength=k) / len(clusters)).tolist(),
        "rotation_agreement": float(np.mean([(found == clusters).mean() for found in rotated])),
        "explained": explained_traits(crops, clusters),
        "diversity": diversity(prototypes, real.flatten(1).cpu().numpy(), clusters, seed),
    }


def diversity(prototypes: Float32Array, real: Float32Array, clusters: Int64Array, seed: int) -> list[float | None]:
    """Compare the mean pairwise L2 distance of each cluster's prototypes with that of 16 of its real cells.

    Args:
        prototypes: (K, 16, D) pixels of generated cells.
        real: (N, D) pixels of real cells.
        clusters: (N,) the cluster of each real cell.
        seed: of the choice of real cells.

    Returns:
        (K,) distance of the prototypes over that of the real cells, which is the mean of 20 draws; None for a cluster
        that has fewer than 16 real cells, or whose real cells are all alike.
    """
    random = np.random.default_rng(seed)
    ratios: list[float | None] = []
    for cluster, generated in enumerate(prototypes):
        members = np.flatnonzero(clusters == cluster)
        if len(members) < PROTOTYPES:
            ratios.append(None)
            continue
        distances = [pdist(real[random.choice(members, PROTOTYPES, replace=False)]).mean() for _ in range(DRAWS)]
        ratios.append(float(pdist(generated).mean() / np.mean(distances)) if np.mean(distances) > 0 else None)
    return ratios


def assign_clusters(q: AnyQ, crops: Tensor) -> Int64Array:
    """Return the most probable cluster of each crop, (N, 3, 32, 32) → (N,) int64."""
    clusters: Int64Array = in_chunks(lambda x: q.logits(x), crops).argmax(1).cpu().numpy()
    return clusters


def in_chunks(net: Any, inputs: Tensor) -> Tensor:
    """Apply a network to many inputs, 512 at a time and without gradients; the outputs are concatenated."""
    with torch.no_grad():
        return torch.cat([net(chunk) for chunk in inputs.split(CHUNK)])
