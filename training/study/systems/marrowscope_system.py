"""Ours and the paper's recipe as systems of Tables I–IV, trained by what trains a bundle."""

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

from app.pipeline.crops import to_network
from app.pipeline.networks.architecture import Trunk
from app.pipeline.types import Float32Array, Int64Array, UInt8Array
from training.config import TrainConfig, load_config
from training.gan.checks import CHUNK
from training.gan.loop import new_trainer, training_loop
from training.gan.trainer import Trainer
from training.representation.anchors import upright
from training.study.systems.clusterer import ClustererFactory

FEATURE_GRID = 4
"""Edge of the grid that each block's map is max-pooled to (paper §IV-C)."""
GAN_ITERATIONS = 200
"""Of the ablation's GAN whose Q knows no anchors: as many as the paper's recipe gets here."""


class Ours:
    """Q of a shipped configuration. Where Q learns anchors, the GAN that follows would not change it, and is left out.

    Args:
        n_clusters: K.
        seed: of everything random.
        config: name of the configuration.
        changes: fields of its [train] with other values.
    """

    def __init__(self, n_clusters: int, seed: int, config: str = "cpu", **changes: Any) -> None:
        train = load_config(Path(config), seed).train
        self.config: TrainConfig = replace(train, n_clusters=n_clusters, **changes)
        self._trainer: Trainer | None = None
        self._notes: dict[str, float] = {}

    def fit(self, crops: UInt8Array) -> None:
        """Find the anchors of the cells and teach them to Q; or else train the GAN.

        Raises:
            DivergedError: a loss became infinite or NaN.
        """
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self.config.anchor_steps:
            self._trainer = new_trainer(self.config, crops, device)
            anchors = self._trainer.sample_real.anchors.cpu().numpy()
            agreement = float((self.clusters(crops) == anchors).mean())
            self._notes = {"anchor_steps": self.config.anchor_steps, "agrees_with_anchors": agreement}
        else:
            with tempfile.TemporaryDirectory(prefix="marrowscope-") as scratch:
                self._trainer = training_loop(self.config, crops, Path(scratch), device)
            checks = self._trainer.check(crops)
            self._notes = {"generator_iterations": self._trainer.iteration, "loss_q": checks["loss_q"]}
        self._notes["channels"] = self.config.channels

    def probabilities(self, crops: UInt8Array) -> Float32Array:
        """(N, 32, 32, 3) uint8 → (N, K) float32, rows sum to 1."""
        critic = self._fitted().nets.ema_q
        return self._in_chunks(crops, lambda x: functional.softmax(critic(x)[1], dim=1))

    def clusters(self, crops: UInt8Array) -> Int64Array:
        """Most probable cluster of each crop."""
        return self.probabilities(crops).argmax(axis=1).astype(np.int64)

    def features(self, crops: UInt8Array) -> Float32Array:
        """Maps of the four residual blocks, max-pooled to 4×4: 64 · channels values a cell (paper §IV-C: 8,192).

        Cells are turned to a common pose first, not in the paper: a linear classifier asks where in a crop a value is.
        """
        trunk = self._fitted().nets.ema_q.trunk
        return self._in_chunks(upright(crops), partial(block_features, trunk))

    def notes(self) -> dict[str, float]:
        """Size of the training, and how far it got."""
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


PaperRecipe = partial(Ours, config="paper-cpu")
"""What the paper states (§IV-B), as wide and as long as a CPU allows."""


def block_features(trunk: Trunk, crops: Tensor) -> Tensor:
    """(B, 3, 32, 32) → (B, 4 · channels · 16), the feature of paper §IV-C."""
    return torch.cat([functional.adaptive_max_pool2d(h, FEATURE_GRID).flatten(1) for h in trunk.maps(crops)], dim=1)


def variants() -> dict[str, ClustererFactory]:
    """Ours with a part left out or changed, by what is changed."""
    alone: dict[str, Any] = {"anchor_steps": 0, "critic_code_weight": 1.0, "generator_iterations": GAN_ITERATIONS}
    return {
        "ours": Ours,
        "128 channels, as wide as the paper's": partial(Ours, channels=128),
        "without stain jitter": partial(Ours, stain_jitter=0.0),
        "without anchors: Q of the GAN": partial(Ours, **alone),
    }
