"""Has the GAN learned? The figures that decide whether a run may be shipped, on G and Q as they would be served."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.spatial.distance import pdist
from torch import Tensor
from torch.nn import functional

from app.pipeline.crops import to_network
from app.pipeline.networks.architecture import CriticQ, Generator
from app.pipeline.types import Float32Array, UInt8Array

PROTOTYPES = 16
"""Cells per cluster whose mean pairwise distance is the diversity."""
DRAWS = 20
"""Sets of 16 real cells that the distance between real cells is averaged over."""
CHUNK = 512


def check_model(
    generator: Generator, critic: CriticQ, crops: UInt8Array, *, seed: int = 0, per_cluster: int = 400
) -> dict[str, Any]:
    """Measure a generator and a Q.

    Args:
        generator: G, in evaluation mode.
        critic: holds Q.
        crops: (N, 32, 32, 3) uint8 real cells.
        seed: of the fresh z.
        per_cluster: generated cells per cluster for `loss_q` and `fidelity`.

    Returns:
        loss_q: eq. 12 on fresh z. fidelity: (K,) share of G(c, z) that Q puts into c. shares: (K,) share of real cells.
        rotation_agreement: share of (crop, rotation by 90°, 180°, 270°) in the crop's own cluster.
        diversity: (K,) mean pairwise L2 distance of 16 prototypes over that of 16 real cells of the cluster (mean of
        20 draws); None for a cluster of fewer than 16 real cells.
    """
    k = generator.n_clusters
    random = torch.Generator().manual_seed(seed)
    device = next(generator.parameters()).device
    codes = torch.arange(k).repeat_interleave(per_cluster)
    z = torch.randn(len(codes), generator.latent_size, generator=random)
    latent = torch.cat([functional.one_hot(codes, k).float(), z], dim=1)
    generated = in_chunks(generator, latent.to(device))
    logits = in_chunks(lambda x: critic(x)[1], generated)
    hits = (logits.argmax(1).cpu() == codes).float().view(k, per_cluster).mean(1)

    real = torch.from_numpy(to_network(crops)).to(device)
    clusters = assign(critic, real)
    turned = [assign(critic, torch.rot90(real, quarter, dims=(2, 3))) for quarter in (1, 2, 3)]
    prototypes = generated.cpu().numpy().reshape(k, per_cluster, -1)[:, :PROTOTYPES]
    return {
        "loss_q": float(functional.cross_entropy(logits.cpu(), codes)),
        "fidelity": hits.tolist(),
        "shares": (np.bincount(clusters, minlength=k) / len(clusters)).tolist(),
        "rotation_agreement": float(np.mean([(t == clusters).mean() for t in turned])),
        "diversity": diversity(prototypes, real.flatten(1).cpu().numpy(), clusters, seed),
    }


def diversity(prototypes: Float32Array, real: Float32Array, clusters: np.ndarray, seed: int) -> list[float | None]:
    """Spread of each cluster's prototypes beside that of its real cells; None where it cannot be measured.

    Args:
        prototypes: (K, 16, D).
        real: (N, D).
        clusters: (N,).
        seed: of the choice of real cells.
    """
    random = np.random.default_rng(seed)
    ratios: list[float | None] = []
    for cluster, drawn in enumerate(prototypes):
        members = np.flatnonzero(clusters == cluster)
        if len(members) < PROTOTYPES:
            ratios.append(None)
            continue
        spreads = [pdist(real[random.choice(members, PROTOTYPES, replace=False)]).mean() for _ in range(DRAWS)]
        ratios.append(float(pdist(drawn).mean() / np.mean(spreads)) if np.mean(spreads) > 0 else None)
    return ratios


def assign(critic: CriticQ, crops: Tensor) -> np.ndarray:
    """Cluster of each crop, (N, 3, 32, 32) → (N,) int64."""
    return in_chunks(lambda x: critic(x)[1], crops).argmax(1).cpu().numpy()


def in_chunks(net: Any, inputs: Tensor) -> Tensor:
    """What a network makes of many crops, without a gradient; it sees 512 at a time."""
    with torch.no_grad():
        return torch.cat([net(chunk) for chunk in inputs.split(CHUNK)])
