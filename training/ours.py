"""Ours and the paper's recipe as systems of Tables I–IV, trained by what trains a bundle."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from app.pipeline.crops import to_network
from app.pipeline.torch_nets import Trunk
from app.pipeline.types import Float32Array, Int64Array, UInt8Array
from training.config import TrainConfig, load_config
from training.located import LocatedCells
from training.loop import begin, training_loop
from training.model_checks import CHUNK
from training.trainer import Trainer

FEATURE_GRID = 4
"""Edge of the grid that each block's map is max-pooled to (paper §IV-C)."""


class Ours:
    """Q of the shipped recipe, which knows its clusters before the GAN begins; the GAN then leaves it as it is.

    Args:
        n_clusters: K.
        seed: of everything random.
        changes: fields of `TrainConfig` with other values than those of configuration "cpu".
    """

    CONFIG = "cpu"

    def __init__(self, n_clusters: int, seed: int, **changes: Any) -> None:
        train = load_config(Path(self.CONFIG), seed).train
        self.config: TrainConfig = replace(train, n_clusters=n_clusters, **changes)
        self._trainer: Trainer | None = None
        self._notes: dict[str, float] = {}

    def fit(self, cells: LocatedCells) -> None:
        """Find the anchors of the cells, and teach them to Q."""
        self._trainer = begin(self.config, cells, _device())
        steps = {"anchor_steps": self.config.anchor_steps}
        agreement = float((self.clusters(cells.crops) == self._trainer.sample_real.anchors.cpu().numpy()).mean())
        self._notes = {**steps, "channels": self.config.channels, "agrees_with_anchors": agreement}

    def probabilities(self, crops: UInt8Array) -> Float32Array:
        """(N, 32, 32, 3) uint8 → (N, K) float32, rows sum to 1."""
        critic = self._fitted().nets.mean_critic
        return self._in_chunks(crops, lambda x: functional.softmax(critic(x)[1], dim=1))

    def clusters(self, crops: UInt8Array) -> Int64Array:
        """Most probable cluster of each crop."""
        return self.probabilities(crops).argmax(axis=1).astype(np.int64)

    def features(self, crops: UInt8Array) -> Float32Array:
        """Maps of the four residual blocks, max-pooled to 4×4: 64 · channels values a cell (paper §IV-C: 8,192)."""
        trunk = self._fitted().nets.mean_critic.trunk
        return self._in_chunks(crops, lambda x: block_features(trunk, x))

    def notes(self) -> dict[str, float]:
        """Size of the training, and how far it got."""
        return self._notes

    def _fitted(self) -> Trainer:
        if self._trainer is None:
            raise RuntimeError("fit() comes first.")
        return self._trainer

    def _in_chunks(self, crops: UInt8Array, net: object) -> Float32Array:
        device = self._fitted().device
        with torch.inference_mode():
            found = [net(x.to(device)).cpu() for x in torch.from_numpy(to_network(crops)).split(CHUNK)]  # type: ignore[operator]
        return np.asarray(torch.cat(found).numpy(), np.float32)


class PaperRecipe(Ours):
    """Q of the GAN trained as the paper says (§IV-B), as wide and as long as a CPU allows."""

    CONFIG = "paper"

    def fit(self, cells: LocatedCells) -> None:
        """Train the GAN on the cells."""
        with tempfile.TemporaryDirectory(prefix="marrowscope-") as scratch:
            self._trainer = training_loop(self.config, cells, Path(scratch), _device())
        checks = self._trainer.check(cells.crops)
        self._notes = {
            "loss_q": checks["loss_q"],
            "lowest_fidelity": min(checks["fidelity"]),
            "largest_share": max(checks["shares"]),
            "rotation_agreement": checks["rotation_agreement"],
            "channels": self.config.channels,
            "generator_iterations": self._trainer.iteration,
        }


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def block_features(trunk: Trunk, crops: Tensor) -> Tensor:
    """(B, 3, 32, 32) → (B, 4 · channels · 16), the feature of paper §IV-C."""
    maps, h = [], crops
    for block in trunk.blocks:
        h = block(h)
        maps.append(functional.adaptive_max_pool2d(h, FEATURE_GRID).flatten(1))
    return torch.cat(maps, dim=1)
