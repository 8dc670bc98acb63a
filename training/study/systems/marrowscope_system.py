"""Our method and the paper's recipe as systems of Tables I to IV; the code that trains a bundle trains them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from app.pipeline.crops import seen, to_network
from app.pipeline.networks.architecture import Trunk
from app.pipeline.types import Float32Array, Int64Array, UInt8Array
from training.config import TrainConfig, load_config
from training.gan.checks import CHUNK
from training.gan.loop import new_trainer, training_loop
from training.gan.trainer import Trainer
from training.representation.anchors import upright
from training.study.interfaces import ClustererFactory

FEATURE_GRID = 4
"""Edge of the grid to which the map of each block is max-pooled (paper §IV-C)."""
GAN_ITERATIONS = 200
"""Iterations of the ablation whose Q learns no anchors; the paper's recipe gets as many here."""


class MarrowscopeSystem:
    """Q of a shipped configuration. If Q learns anchors, the GAN is not trained, because it would not change Q.

    Args:
        n_clusters: K.
        seed: seed of everything random.
        config: name of the configuration.
        changes: fields of its [train] to change.
    """

    def __init__(self, n_clusters: int, seed: int, config: str = "cpu", **changes: Any) -> None:
        train = load_config(Path(config), seed).train
        self.config: TrainConfig = replace(train, n_clusters=n_clusters, **changes)
        self._trainer: Trainer | None = None
        self._notes: dict[str, float] = {}

    def fit(self, crops: UInt8Array) -> None:
        """Find the anchors of the cells and teach them to Q; in a configuration without anchors, train the GAN.

        Raises:
            DivergedError: a loss became infinite or NaN.
        """
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        learned_from = seen(crops, self.config.crops)
        if self.config.anchor_steps:
            self._trainer = new_trainer(self.config, learned_from, device)
            anchors = self._trainer.sample_real.anchors.cpu().numpy()
            agreement = float((self.clusters(crops) == anchors).mean())
            self._notes = {"anchor_steps": self.config.anchor_steps, "agrees_with_anchors": agreement}
        else:
            with tempfile.TemporaryDirectory(prefix="marrowscope-") as scratch:
                self._trainer = training_loop(self.config, learned_from, Path(scratch), device)
            checks = self._trainer.check(learned_from)
            self._notes = {"generator_iterations": self._trainer.iteration, "loss_q": checks["loss_q"]}
        self._notes["channels"] = self.config.channels

    def probabilities(self, crops: UInt8Array) -> Float32Array:
        """Return the probabilities of the clusters, (N, 32, 32, 7) uint8 → (N, K) float32, rows sum to 1."""
        q = self._fitted().nets.ema_q
        return self._in_chunks(seen(crops, self.config.crops), lambda x: functional.softmax(q.logits(x), dim=1))

    def clusters(self, crops: UInt8Array) -> Int64Array:
        """Return the most probable cluster of each crop, (N, 32, 32, 7) uint8 → (N,) int64."""
        return self.probabilities(crops).argmax(axis=1).astype(np.int64)

    def features(self, crops: UInt8Array) -> Float32Array:
        """Return the maps of the four residual blocks, max-pooled to 4×4, (N, 32, 32, 7) uint8 → (N, 64 · channels).

        The paper has 8,192 values a cell (§IV-C). Unlike in the paper, cells are turned to a common orientation first,
        because a linear classifier depends on where in a crop a value is.
        """
        trunk = self._fitted().nets.ema_q.trunk
        return self._in_chunks(upright(seen(crops, self.config.crops)), partial(block_features, trunk))

    def notes(self) -> dict[str, float]:
        """Return the size of the training, and how far it got."""
        return self._notes

    def _fitted(self) -> Trainer:
        if self._trainer is None:
            raise RuntimeError("fit() comes first.")
        return self._trainer

    def _in_chunks(self, crops: UInt8Array, net: Callable[[Tensor], Tensor]) -> Float32Array:
        device = self._fitted().device
        with torch.inference_mode():
            found = [net(x.to(device)).cpu() for x in torch.from_numpy(to_network(crops)).split(CHUNK)]
        return np.asarray(torch.cat(found).numpy(), np.float32)


PaperRecipe = partial(MarrowscopeSystem, config="paper-cpu")
"""The recipe that the paper states (§IV-B), as wide and as long as a CPU allows."""


def block_features(trunk: Trunk, crops: Tensor) -> Tensor:
    """Return the features of paper §IV-C, (B, 3, 32, 32) → (B, 4 · channels · 16)."""
    return torch.cat([functional.adaptive_max_pool2d(h, FEATURE_GRID).flatten(1) for h in trunk.maps(crops)], dim=1)


def variants() -> dict[str, ClustererFactory]:
    """Return our method and its variants, in which a part is left out or changed, by name."""
    alone: dict[str, Any] = {"anchor_steps": 0, "critic_code_weight": 1.0, "generator_iterations": GAN_ITERATIONS}
    return {
        "ours": MarrowscopeSystem,
        "128 channels, as wide as the paper's": partial(MarrowscopeSystem, channels=128),
        "without stain jitter": partial(MarrowscopeSystem, stain_jitter=0.0),
        "without anchors: Q of the GAN": partial(MarrowscopeSystem, **alone),
    }
