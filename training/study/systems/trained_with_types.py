"""The ceiling of our network in Table I: the same encoder, but trained with the types of the training cells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from app.pipeline.crops import seen, to_network
from app.pipeline.networks.architecture import Encoder, map_statistics
from app.pipeline.types import Float32Array, Int64Array, UInt8Array
from training.cells.unlabelled import UnlabelledCells
from training.config import EncoderConfig, TrainConfig, load_config
from training.gan.checks import in_chunks
from training.representation.encoder import move
from training.representation.pretrain import EncoderTrainer, encoder_config
from training.study.systems.marrowscope_system import over_turns
from training.tracking import finite_losses


class EncoderWithTypes:
    """The encoder of a shipped configuration, trained to tell types that are given to it.

    It has the size, the views and the epochs of the encoder that learns without types. What it reaches says how much of
    the distance to it the network itself is to blame for.

    Args:
        seed: seed of everything random.
        config: name of a configuration with an encoder.
        encoder: replaces its section [train.encoder].
    """

    def __init__(self, seed: int, config: str = "cpu", encoder: EncoderConfig | None = None) -> None:
        train = load_config(Path(config), seed).train
        # With types, cells of the same tile need not be told apart, so a step has cells of all tiles.
        self.config: TrainConfig = replace(train, encoder=replace(encoder or encoder_config(train), tiles_per_batch=0))
        self._encoder: Encoder | None = None

    def fit_types(self, cells: UnlabelledCells, types: Int64Array) -> None:
        """Train the encoder on cells and the type of each, (N,) int64.

        Raises:
            DataError: there are fewer than two cells.
            DivergedError: the loss became infinite or NaN.
        """
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        trainer = TypeTrainer(self.config, cells, types, device)
        while trainer.epoch < trainer.config.epochs:
            finite_losses({"loss": trainer.train_epoch()}, trainer.iteration)
        self._encoder = trainer.encoder.eval()

    def features(self, crops: UInt8Array) -> Float32Array:
        """Return the same features as the encoder without types, (N, 32, 32, 7) → (N, 30 · width) float32."""
        if (encoder := self._encoder) is None:
            raise RuntimeError("fit_types() comes first.")
        device = next(encoder.parameters()).device
        shown = torch.from_numpy(to_network(seen(crops, self.config.crops))).to(device)
        found = in_chunks(lambda x: over_turns(map_statistics, encoder, x), shown)
        return np.asarray(found.cpu().numpy(), np.float32)


class TypeTrainer(EncoderTrainer):
    """Trains an encoder, in random views of the cells, by the cross-entropy of their types.

    Args:
        config: the configuration of the encoder.
        cells: cells with all channels.
        types: (N,) int64, the type of each.
        device: where to train.
    """

    def __init__(self, config: TrainConfig, cells: UnlabelledCells, types: Int64Array, device: torch.device) -> None:
        self.types = torch.from_numpy(types)
        super().__init__(config, cells, device)

    def new_head(self) -> nn.Module:
        """Return a head with a logit for each type."""
        return nn.Linear(self.encoder.widths[-1], int(self.types.max()) + 1)

    def loss(self, batch: Tensor) -> Tensor:
        """Return the cross-entropy of the types, each cell in one view."""
        return functional.cross_entropy(self.see(batch), move(self.types[batch], self.device))
