"""The loop that CatGAN, InfoGAN and GMVAE share: batches, batch-norm statistics of real cells, and notes on the fit."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from app.pipeline.crops import pictures, to_network
from app.pipeline.types import Int64Array, UInt8Array
from training.cells.unlabelled import UnlabelledCells
from training.errors import DivergedError
from training.gan.sampler import rotate

BATCH = 64
"""The paper's batch (§IV-B)."""
LAST = 100
"""Number of last iterations whose mean is noted."""
IN_USE = 0.01
"""A cluster counts as used if it holds at least this share of the cells."""
CHUNK = 512
TINY = 1e-12


class Model(Protocol):
    """Networks and their optimisers."""

    @property
    def classifier(self) -> nn.Module:
        """The network (B, 3, 32, 32) in [-1, 1] → (B, K), whose largest output is at the cluster."""

    def step(self, real: Tensor) -> dict[str, Tensor]:
        """Train once on (B, 3, 32, 32) in [-1, 1], and return values to note, all finite.

        Raises:
            DivergedError: a loss became infinite or NaN.
        """


class GenerativeClusterer:
    """A model that is trained for a number of iterations on cells turned by multiples of 90°, as in the paper.

    Training that diverges is a result here, not an error: the notes record it, and the clusters are those of the last
    weights whose loss was finite.

    Args:
        create: K → a freshly initialised model.
        n_clusters: K.
        seed: seed of every random draw; PyTorch's own random state does not change.
        iterations: length of the training.
    """

    def __init__(self, create: Callable[[int], Model], n_clusters: int, seed: int, iterations: int) -> None:
        self._create = create
        self._n_clusters = n_clusters
        self._seed = seed
        self._iterations = iterations

    def fit(self, cells: UnlabelledCells) -> None:
        """Train on the nuclei of N ≥ 2 cells."""
        x = torch.from_numpy(to_network(pictures(cells.crops)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            model = self._create(self._n_clusters)
            trained = _train(model, x, self._iterations)
        self._classifier = model.classifier
        measure_norms(self._classifier, x)
        clusters, turned = assign(self._classifier, x), assign(self._classifier, x.rot90(dims=(2, 3)))
        self._notes = {
            **trained,
            **usage(clusters, self._n_clusters),
            "rotation_agreement": float((clusters == turned).mean()),
        }

    def clusters(self, crops: UInt8Array) -> Int64Array:
        """Return the most probable cluster of each crop, (N, 32, 32, C) uint8 → (N,) int64 in 0 … K − 1."""
        return assign(self._classifier, torch.from_numpy(to_network(pictures(crops))))

    def notes(self) -> dict[str, float]:
        """Return notes on the fit and on its clusters.

        On the fit: iterations, diverged (0 or 1), and the means of the model's values over the last 100 iterations. On
        the clusters: clusters_in_use (with at least 1% of the cells), largest_share, and rotation_agreement (the share
        of cells that stay in their cluster when they are turned by 90°).
        """
        return self._notes


def descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """Take one step down the gradient of a loss.

    Raises:
        DivergedError: the loss is infinite or NaN; the weights do not change.
    """
    if not torch.isfinite(loss):
        raise DivergedError(f"A loss is {loss.item()}.")
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


@torch.no_grad()
def measure_norms(net: nn.Module, crops: Tensor) -> None:
    """Set batch norm to the statistics of real cells, and the network to evaluation.

    In training, real and generated batches are each normalised by their own statistics; the running statistics are a
    mixture that the network never saw.

    Args:
        net: (B, 3, 32, 32) → anything.
        crops: (N, 3, 32, 32) in [-1, 1], N ≥ 2.
    """
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # None makes it the plain mean over batches.
    net.train()
    # The parts differ in size by one at most, because batch norm fails on a part of a single cell.
    for part in crops.tensor_split(-(-len(crops) // CHUNK)):
        net(part)
    net.eval()


@torch.no_grad()
def assign(net: nn.Module, crops: Tensor) -> Int64Array:
    """Return the index of the network's largest output, (N, 3, 32, 32) → (N,) int64."""
    return np.concatenate([net(part).argmax(dim=1).numpy() for part in crops.split(CHUNK)])


def entropy(probabilities: Tensor) -> Tensor:
    """Return the entropy in nats, (…, K) → (…); its gradient is finite where a probability is 0."""
    return torch.special.entr(probabilities.clamp_min(TINY)).sum(dim=-1)


def usage(clusters: Int64Array, n_clusters: int) -> dict[str, float]:
    """Return how many clusters hold at least 1% of the cells, and the share of the largest one."""
    shares = np.bincount(clusters, minlength=n_clusters) / len(clusters)
    return {"clusters_in_use": float((shares >= IN_USE).sum()), "largest_share": float(shares.max())}


def _train(model: Model, crops: Tensor, iterations: int) -> dict[str, float]:
    recent: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=LAST))
    done, diverged = 0, False
    with torch.autocast(crops.device.type, torch.bfloat16):
        while done < iterations and not diverged:
            chosen = crops[torch.randint(len(crops), (BATCH,))]
            try:
                values = model.step(rotate(chosen, torch.default_generator))
            except DivergedError:
                diverged = True
            else:
                done += 1
                for name, value in values.items():
                    recent[name].append(value.item())
    means = {name: float(np.mean(values)) for name, values in recent.items()}
    return {"iterations": float(done), "diverged": float(diverged), **means}
