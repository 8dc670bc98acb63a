"""Our method and the paper's recipe as systems of Tables I to IV; the code that trains a bundle trains them."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor
from torch.nn import functional

from app.pipeline.crops import pictures, seen, to_network
from app.pipeline.networks import architecture
from app.pipeline.networks.architecture import AnyQ, Encoder, Trunk, map_statistics, pooled
from app.pipeline.types import Float32Array, Int64Array, UInt8Array
from training.cells.unlabelled import UnlabelledCells
from training.config import TrainConfig, load_config
from training.gan import losses, networks, sampler, trainer
from training.gan.checks import CHUNK
from training.gan.loop import training_loop
from training.gan.train_q import learn_clusters
from training.representation import encoder as views
from training.representation import pretrain as pretraining
from training.representation.company import STARTS
from training.representation.look import upright
from training.representation.pretrain import encoder_config, pretrain
from training.study.interfaces import ClustererFactory

ENCODER_TRAINED_BY = (architecture, views, pretraining)
"""The modules that decide what an encoder learns."""
GAN_TRAINED_BY = (architecture, losses, networks, sampler, trainer)
"""The modules that decide what a GAN learns."""
FEATURE_GRID = 4
"""Edge of the grid to which the map of each block is max-pooled (paper §IV-C)."""


class MarrowscopeSystem:
    """Q of a shipped configuration.

    If Q stands on an encoder, the GAN is not trained: it would take hours for each fit, and moves few cells to other
    clusters.

    Args:
        n_clusters: K.
        seed: seed of everything random.
        config: name of the configuration.
        encoder: fields of its [train.encoder] to change.
        changes: fields of its [train] to change.

    Raises:
        ConfigError: fields of the encoder are changed, and the configuration has none.
    """

    def __init__(
        self, n_clusters: int, seed: int, config: str = "cpu", encoder: Mapping[str, Any] | None = None, **changes: Any
    ) -> None:
        train = load_config(Path(config), seed).train
        if encoder:
            changes["encoder"] = replace(encoder_config(train), **encoder)
        self.config: TrainConfig = replace(train, n_clusters=n_clusters, **changes)
        self._q: AnyQ | None = None
        self._notes: dict[str, float] = {}

    def fit(self, cells: UnlabelledCells) -> None:
        """Train the encoder and learn the clusters or, without an encoder, train the GAN.

        Raises:
            DivergedError: a loss became infinite or NaN.
        """
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        shown = replace(cells, crops=seen(cells.crops, self.config.crops))
        if self.config.encoder:
            self._q = learn_clusters(self.config, shown, trained_encoder(self.config, shown, device))
            self._notes = {"epochs": self.config.encoder.epochs, "channels": self.config.encoder.width}
            return
        # A GAN takes even longer than an encoder, and is kept and resumed like one.
        trained = training_loop(self.config, shown, _kept("gans", self.config, shown, GAN_TRAINED_BY), device)
        self._q = trained.nets.ema_q
        self._notes = {
            "generator_iterations": trained.iteration,
            "loss_q": trained.check(shown.crops)["loss_q"],
            "channels": self.config.channels,
        }

    def probabilities(self, crops: UInt8Array) -> Float32Array:
        """Return the probabilities of the clusters, (N, 32, 32, C) uint8 → (N, K) float32, rows sum to 1."""
        return self._in_chunks(crops, lambda q, x: functional.softmax(q.logits(x), dim=1))

    def clusters(self, crops: UInt8Array) -> Int64Array:
        """Return the most probable cluster of each crop, (N, 32, 32, C) uint8 → (N,) int64."""
        return self.probabilities(crops).argmax(axis=1).astype(np.int64)

    def features(self, crops: UInt8Array) -> Float32Array:
        """Return what a classifier learns types from.

        With an encoder, these are the mean and the standard deviation of each channel of each of its maps, on average
        over the four turns of a cell: the last map alone, which Q stands on, keeps less of the texture. Otherwise they
        are those of the paper (§IV-C): the maps of the four residual blocks, max-pooled to 4×4. Unlike in the paper,
        cells are then turned to a common orientation first, because a linear classifier depends on where in a crop a
        value is.

        Args:
            crops: (N, 32, 32, C) uint8.

        Returns:
            (N, 30 · width) or (N, 64 · channels) float32.
        """
        if self.config.encoder:
            return self._in_chunks(crops, lambda q, x: over_turns(map_statistics, q.trunk, x))
        return self._in_chunks(upright(pictures(crops)), lambda q, x: block_features(q.trunk, x))

    def notes(self) -> dict[str, float]:
        """Return the size of the training, and how far it got."""
        return self._notes

    def _in_chunks(self, crops: UInt8Array, net: Callable[[AnyQ, Tensor], Tensor]) -> Float32Array:
        if (q := self._q) is None:
            raise RuntimeError("fit() comes first.")
        device = next(q.parameters()).device
        shown = torch.from_numpy(to_network(seen(crops, self.config.crops)))
        with torch.inference_mode():
            found = [net(q, x.to(device)).cpu() for x in shown.split(CHUNK)]
        return np.asarray(torch.cat(found).numpy(), np.float32)


def trained_encoder(config: TrainConfig, cells: UnlabelledCells, device: torch.device) -> Encoder:
    """Train an encoder on cells, or take the one that was trained on them before, in evaluation mode.

    An encoder takes minutes, and every K, and several of the tables, need the same one. So it is kept in the user's
    cache directory, under what it was trained on and with; one whose training was interrupted is trained on.
    """
    # Of the configuration, K is what an encoder knows nothing of.
    return pretrain(config, cells, _kept("encoders", replace(config, n_clusters=2), cells, ENCODER_TRAINED_BY), device)


def _kept(kind: str, config: TrainConfig, cells: UnlabelledCells, trained_by: tuple[ModuleType, ...]) -> Path:
    """Return the directory of what is trained on these cells with this configuration, and by this code.

    Changed code or another release of PyTorch would train something else, so that has a directory of its own.
    """
    parts = [repr(config).encode(), cells.crops, cells.tile_index, cells.centroids]
    parts += [torch.__version__.encode(), *(inspect.getsource(part).encode() for part in trained_by)]
    return cache_directory() / kind / sha256(b"".join(map(bytes, parts))).hexdigest()[:32]


def cache_directory() -> Path:
    """Return the directory of the networks that the tables share, in the user's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "marrowscope"


def over_turns(describe: Callable[[list[Tensor]], Tensor], trunk: Trunk | Encoder, crops: Tensor) -> Tensor:
    """Return what is read off the maps of cells, on average over their four turns, (B, C, 32, 32) → (B, F)."""
    turns = [torch.rot90(crops, quarter, dims=(2, 3)) for quarter in range(4)]
    return torch.stack([describe(trunk.maps(turned)) for turned in turns]).mean(dim=0)


def block_features(trunk: Trunk | Encoder, crops: Tensor) -> Tensor:
    """Return the features of paper §IV-C, (B, 3, 32, 32) → (B, 4 · channels · 16)."""
    return torch.cat([functional.adaptive_max_pool2d(h, FEATURE_GRID).flatten(1) for h in trunk.maps(crops)], dim=1)


PaperRecipe = partial(MarrowscopeSystem, config="paper-cpu")
"""The recipe that the paper states (§IV-B), as wide and as long as a CPU allows."""

EPOCHS = 10
"""Epochs of an encoder of Tables I to III, which need one for every set and seed, and one for every split.

These are 420 steps on all cells of `crchisto` and 600 on those of `consep`; the encoder of the bundle had 1,080.
"""
OurSystem = partial(MarrowscopeSystem, encoder={"epochs": EPOCHS})
"""Our method with the recipe of the shipped bundle, but for the number of epochs."""

BY_PLACES: dict[str, Any] = {"epochs": EPOCHS, "near_share": 0.0, "random_starts": 4}
PlacesSystem = partial(MarrowscopeSystem, encoder=BY_PLACES)
"""Our method with another recipe of the encoder, for tissue where the place of a cell says its type.

The encoder always sees the whole field, and the clusters are the best of several random beginnings. The recipe was
chosen on the agreement with types within the tiles of `crchisto`, seed 0, so its figures for that set are tuned on it.
"""


class KMeansOfEncoder(MarrowscopeSystem):
    """Our encoder with k-means of its features, which is what the clusters of our method begin with."""

    def fit(self, cells: UnlabelledCells) -> None:
        """Train the encoder and find the centres; the head is learned as well, and is not used."""
        super().fit(cells)
        self._kmeans = KMeans(self.config.n_clusters, n_init=STARTS, random_state=self.config.seed)
        self._kmeans.fit(self._ground(cells.crops))

    def probabilities(self, crops: UInt8Array) -> Float32Array:
        """Return 1 for the nearest centre of each crop and 0 for all others, (N, 32, 32, 7) uint8 → (N, K) float32."""
        nearest = self._kmeans.predict(self._ground(crops))
        return np.eye(self.config.n_clusters, dtype=np.float32)[nearest]

    def _ground(self, crops: UInt8Array) -> Float32Array:
        """Return what Q's head stands on, on average over the four turns of a cell, (N, 8 · width) float32."""
        return self._in_chunks(crops, lambda q, x: over_turns(pooled, q.trunk, x))


def variants() -> dict[str, ClustererFactory]:
    """Return our method and its variants, in each of which one part is left out or changed, by name."""

    def with_encoder(**changed: float) -> ClustererFactory:
        return partial(MarrowscopeSystem, encoder={"epochs": EPOCHS, **changed})

    return {
        "ours": OurSystem,
        "nucleus alone": partial(OurSystem, crops="nucleus"),
        "whole field, never near": with_encoder(near_share=0.0),
        "no neighbours as views": with_encoder(neighbour_share=0.0),
        "cells of all tiles in a batch": with_encoder(tiles_per_batch=0),
        "no changes of stain": with_encoder(grey_share=0.0, density_jitter=0.0),
        "no blur": with_encoder(blur_share=0.0),
        "k-means instead of company": partial(KMeansOfEncoder, encoder={"epochs": EPOCHS}),
    }
