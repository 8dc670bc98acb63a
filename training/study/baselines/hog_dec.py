"""HOG + DEC of Table III: Deep Embedded Clustering on 2,048 gradient values of each cell (paper §IV-D).

HOG. The paper gives only the number of values. Blocks of 2 × 2 cells with 8 orientations (Dalal and Triggs 2005) have
2,048 values on a grid of 9 × 9 cells (8 · 8 blocks · 4 cells · 8), which cells of 4 px cover if the crop's white canvas
is 36 px wide.

DEC (Xie, Girshick and Farhadi, ICML 2016). As published: the layers D-500-500-2000-10, denoising reconstruction first,
k-means for the first centres, then self-training with the sharpened target distribution until few cells change cluster.
Not as published, to take minutes on a CPU: the autoencoder is trained as a whole by Adam (in the publication layer by
layer, by SGD, for 250,000 iterations and more), and the target is renewed twice in a pass over the cells (there every
140 batches). On the HOG values of `crchisto`, 2,000 iterations of pretraining instead of 600 changed purity (K = 5)
from .454 to .468.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from skimage.feature import hog
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn import functional

from app.pipeline.crops import WHITE, pictures
from app.pipeline.types import Float32Array, Int64Array, UInt8Array
from training.cells.unlabelled import UnlabelledCells
from training.errors import DivergedError
from training.study.baselines.descriptor_cache import cached_descriptor

MARGIN_PX = 2
DIMENSIONS = 2048
HIDDEN = (500, 500, 2000)
EMBEDDED = 10
CORRUPTION = 0.2
"""Share of the inputs that are set to 0 and have to be reconstructed."""
BATCH = 256
PRETRAINING_ITERATIONS = 600
PRETRAINING_RATE = 1e-3
STARTS = 20
"""Number of times that k-means is started on the first embedding."""
RATE = 0.01
MOMENTUM = 0.9
MAX_ROUNDS = 40
"""Largest number of times that the target is renewed."""
ROUNDS_PER_PASS = 2
TOLERANCE = 0.001
"""Training ends when a smaller share of cells changes cluster from one round to the next."""


class HogDec:
    """DEC on HOG values, which are scaled so that their mean square is 1 (Xie et al. 2016, §5.1).

    Args:
        n_clusters: K.
        seed: seed of weights, corruption, batches and k-means.
    """

    def __init__(self, n_clusters: int, seed: int) -> None:
        self._n_clusters = n_clusters
        self._seed = seed

    def fit(self, cells: UnlabelledCells) -> None:
        """Learn the embedding and its clusters from at least K cells.

        Raises:
            DivergedError: a loss became infinite or NaN.
        """
        features = hog_features(pictures(cells.crops))
        self._scale = 1 / float(np.sqrt(np.square(features).mean()))
        self._dec: Dec = fit_dec(features * np.float32(self._scale), self._n_clusters, self._seed)
        self._sizes = np.bincount(self.clusters(cells.crops), minlength=self._n_clusters)

    def clusters(self, crops: UInt8Array) -> Int64Array:
        """Return the most similar centre of each crop, (N, 32, 32, C) uint8 → (N,) int64 in 0 … K − 1."""
        scaled = torch.from_numpy(hog_features(pictures(crops)) * np.float32(self._scale))
        return np.asarray(self._dec.predict(scaled).argmax(dim=1).numpy(), np.int64)

    def notes(self) -> dict[str, float]:
        """Return the last loss, the share of cells that changed last, the rounds and the largest cluster's share."""
        return {
            "loss": self._dec.loss,
            "changed": self._dec.changed,
            "rounds": float(self._dec.rounds),
            "largest_share": float(self._sizes.max() / self._sizes.sum()),
        }


@cached_descriptor
def hog_features(crops: UInt8Array) -> Float32Array:
    """Compute histograms of oriented gradients; each pixel counts with the channel that changes most.

    Args:
        crops: (N, 32, 32, 3) uint8.

    Returns:
        (N, 2048) float32 in 0 to 1, read-only.
    """
    margin = ((MARGIN_PX, MARGIN_PX), (MARGIN_PX, MARGIN_PX), (0, 0))
    features = np.empty((len(crops), DIMENSIONS), np.float32)
    for row, crop in zip(features, crops, strict=True):
        canvas = np.pad(crop, margin, constant_values=WHITE)
        row[:] = hog(canvas, orientations=8, pixels_per_cell=(4, 4), cells_per_block=(2, 2), channel_axis=-1)
    return features


class Dec(nn.Module):
    """An encoder, and the centres of the clusters in its space.

    Attributes:
        rounds: number of times that the target was renewed.
        changed: share of cells that changed cluster in the last round.
        loss: mean Kullback–Leibler divergence of the clusters from their target in the last round.
    """

    def __init__(self, dimensions: int, n_clusters: int) -> None:
        super().__init__()
        sizes = (dimensions, *HIDDEN, EMBEDDED)
        self.encoder = _layers(sizes)
        self.decoder = _layers(sizes[::-1])
        self.centres = nn.Parameter(torch.zeros(n_clusters, EMBEDDED))
        self.rounds, self.changed, self.loss = 0, 1.0, 0.0

    def soft_clusters(self, x: Tensor) -> Tensor:
        """Return Student's t similarity to each centre, eq. 1 with α = 1: (B, D) → (B, K), rows sum to 1."""
        similarity = 1 / (1 + torch.cdist(self.encoder(x), self.centres).square())
        return similarity / similarity.sum(dim=1, keepdim=True)

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Return the `soft_clusters` of any number of rows, without gradients."""
        return torch.cat([self.soft_clusters(part) for part in x.split(1024)])


def fit_dec(features: Float32Array, n_clusters: int, seed: int) -> Dec:
    """Learn an embedding and its clusters.

    Args:
        features: (N, D) float32, N ≥ K.
        n_clusters: K.
        seed: seed of weights, corruption, batches and k-means; PyTorch's own random state does not change.

    Raises:
        DivergedError: a loss became infinite or NaN.
    """
    x = torch.tensor(features)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        dec = Dec(x.shape[1], n_clusters)
        _pretrain(dec, x)
        with torch.no_grad():
            embedded = torch.cat([dec.encoder(part) for part in x.split(1024)]).numpy()
            kmeans = KMeans(n_clusters, n_init=STARTS, random_state=seed).fit(embedded)
            dec.centres.copy_(torch.from_numpy(kmeans.cluster_centers_))
        _self_train(dec, x)
    return dec


def target_distribution(q: Tensor) -> Tensor:
    """Sharpen probabilities and weigh them against large clusters, eq. 3: (N, K) → (N, K), rows sum to 1."""
    weight = q.square() / q.sum(dim=0)
    return weight / weight.sum(dim=1, keepdim=True)


def _layers(sizes: tuple[int, ...]) -> nn.Sequential:
    """Return linear layers with ReLU between them, and none after the last."""
    parts: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        parts += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def _pretrain(dec: Dec, x: Tensor) -> None:
    """Train the autoencoder to reconstruct features from corrupted ones."""
    parameters = [*dec.encoder.parameters(), *dec.decoder.parameters()]
    optimiser = torch.optim.Adam(parameters, PRETRAINING_RATE)
    batches = _batches(len(x))
    for _ in range(PRETRAINING_ITERATIONS):
        whole = x[next(batches)]
        loss = functional.mse_loss(dec.decoder(dec.encoder(functional.dropout(whole, CORRUPTION))), whole)
        _step(optimiser, loss)


def _self_train(dec: Dec, x: Tensor) -> None:
    """Move the clusters towards their own sharpened target until they hardly change."""
    optimiser = torch.optim.SGD([*dec.encoder.parameters(), dec.centres], RATE, momentum=MOMENTUM)
    batches = _batches(len(x))
    per_round = -(-len(x) // (BATCH * ROUNDS_PER_PASS))
    q = dec.predict(x)
    while dec.rounds < MAX_ROUNDS and dec.changed >= TOLERANCE:
        target, losses = target_distribution(q), []
        for _ in range(per_round):
            chosen = next(batches)
            loss = functional.kl_div(dec.soft_clusters(x[chosen]).log(), target[chosen], reduction="batchmean")
            losses.append(_step(optimiser, loss))
        before, q = q.argmax(dim=1), dec.predict(x)
        dec.rounds += 1
        dec.changed = float((q.argmax(dim=1) != before).float().mean())
        dec.loss = float(np.mean(losses))


def _step(optimiser: torch.optim.Optimizer, loss: Tensor) -> float:
    value = loss.item()
    if not np.isfinite(value):
        raise DivergedError(f"DEC diverged: its loss is {value}")
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return value


def _batches(n: int) -> Iterator[Tensor]:
    """Yield the indices of batches without end, each row once in each pass; fewer rows than a batch are one batch."""
    while True:
        yield from torch.randperm(n).split(BATCH)
