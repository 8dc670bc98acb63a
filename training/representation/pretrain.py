"""The training of the encoder, before Q and the GAN: cells → `encoder.pt` in the directory of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from app.pipeline.crops import seen
from app.pipeline.networks.architecture import Encoder
from training import checkpoint
from training.cells.unlabelled import UnlabelledCells
from training.config import EncoderConfig, TrainConfig
from training.errors import ConfigError, DataError
from training.precision import forward_precision
from training.representation.company import neighbours_of
from training.representation.encoder import contrastive_loss, move, views
from training.tracking import MetricsLog, finite_losses

NAME = "encoder.pt"
LOG = "encoder.jsonl"
HIDDEN = 256
PROJECTED = 128
"""Widths of the head whose output the loss compares; what the encoder itself gives is better to stand on."""
RISING_SHARE = 0.1
"""Share of the steps in which the learning rate rises."""


def pretrain(
    config: TrainConfig,
    cells: UnlabelledCells,
    directory: Path,
    device: torch.device,
    *,
    stop_after: int | None = None,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Encoder:
    """Train the encoder of a run, or resume its training; one that has learned to the end is returned as it is.

    Args:
        config: the configuration of the run.
        cells: real cells; their crops may have more channels than the configuration lets Q see.
        directory: receives encoder.pt after each epoch, and encoder.jsonl.
        device: where to train.
        stop_after: pause after this epoch.
        track: wraps the epochs still to do, to show progress.

    Returns:
        The encoder after its last epoch, in evaluation mode.

    Raises:
        ConfigError: the configuration has no encoder.
        DataError: there are fewer than two cells.
        DivergedError: a loss became infinite or NaN; the last checkpoint stays.
        CheckpointError: the checkpoint is damaged.
    """
    trainer = EncoderTrainer(config, cells, device)
    if (state := checkpoint.load(directory, device, NAME)) is not None:
        trainer.restore(state)
    last = min(trainer.config.epochs, stop_after or trainer.config.epochs)
    if trainer.epoch < last:
        directory.mkdir(parents=True, exist_ok=True)
        log = MetricsLog(directory / LOG, resume_at=trainer.iteration)
        for _ in track(range(trainer.epoch, last)):
            losses = {"loss": trainer.train_epoch()}
            log.write(
                {"iteration": trainer.iteration, "epoch": trainer.epoch, **finite_losses(losses, trainer.iteration)}
            )
            checkpoint.save(directory, trainer.state(), NAME)
    return trainer.encoder.eval()


def load_encoder(config: TrainConfig, directory: Path, device: torch.device) -> Encoder:
    """Return the encoder of a run, in evaluation mode.

    Raises:
        ConfigError: the configuration has no encoder.
        DataError: the run has no encoder, or it has not learned to the end.
        CheckpointError: the checkpoint is damaged.
    """
    epochs = encoder_config(config).epochs
    state = checkpoint.load(directory, device, NAME)
    if state is None or state["epoch"] < epochs:
        raise DataError(f"{directory} holds no finished encoder; make one with `python -m training pretrain`.")
    encoder = new_encoder(config, device)
    encoder.load_state_dict(state["encoder"])
    return encoder.eval()


def new_encoder(config: TrainConfig, device: torch.device) -> Encoder:
    """Return an encoder that is freshly initialised from the configuration's seed."""
    torch.manual_seed(config.seed)
    encoder = Encoder(config.n_channels, encoder_config(config).width)
    return encoder.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


class EncoderTrainer:
    """The encoder of a run, and all that decides the rest of its training.

    Args:
        config: the configuration of the run.
        cells: N real cells; their crops may have more channels than the configuration lets Q see.
        device: the encoder and the crops live there. Every random draw is made on the CPU.

    Attributes:
        config: the section of the encoder.
        encoder: the network that learns.
        head: makes projections of its features, which the loss compares.
        epoch: the number of epochs done.
        iteration: the number of steps done in all of them.
    """

    def __init__(self, config: TrainConfig, cells: UnlabelledCells, device: torch.device) -> None:
        self.run_config = config
        self.config = encoder_config(config)
        if len(cells) < 2:
            raise DataError(f"An encoder learns to tell cells apart; there must be at least two, found {len(cells)}.")
        self.device = device
        self.encoder = new_encoder(config, device).train()
        self.head = self.new_head().to(device)
        self.crops = torch.from_numpy(seen(cells.crops, config.crops)).to(device)
        self.tile_index = torch.unique(torch.from_numpy(cells.tile_index), return_inverse=True)[1]
        self.neighbours = torch.from_numpy(neighbours_of(cells.centroids, cells.tile_index))
        self.random = torch.Generator().manual_seed(config.seed)
        self.epoch = 0
        parameters = [*self.encoder.parameters(), *self.head.parameters()]
        self.optimiser = torch.optim.AdamW(parameters, weight_decay=self.config.weight_decay, fused=True)
        self.steps_per_epoch = max(1, len(cells) // self.config.batch_size)
        # With a tenth of ten steps, PyTorch would divide by zero.
        n_steps = max(self.config.epochs * self.steps_per_epoch, round(1 / RISING_SHARE) + 1)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, self.config.learning_rate, n_steps, pct_start=RISING_SHARE
        )

    def new_head(self) -> nn.Module:
        """Return the head whose output the loss is of."""
        return nn.Sequential(
            nn.Linear(self.encoder.widths[-1], HIDDEN),
            nn.BatchNorm1d(HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, PROJECTED),
        )

    @property
    def iteration(self) -> int:
        """The number of steps done."""
        return self.epoch * self.steps_per_epoch

    def train_epoch(self) -> Tensor:
        """Learn from every cell once, but for a rest that is smaller than a batch.

        Returns:
            The mean loss of the steps, a scalar on the device.
        """
        losses = [self.step(batch) for batch in self.draw_batches()]
        self.epoch += 1
        return torch.stack(losses).mean()

    def draw_batches(self) -> list[Tensor]:
        """Draw the batches of one epoch, int64 indices of cells.

        With `tiles_per_batch`, cells of as many tiles follow each other: a batch has cells of these alone, or at the
        seam of two such groups, of both. The batches are then shuffled.
        """
        order = torch.randperm(len(self.crops), generator=self.random)
        if self.config.tiles_per_batch:
            n_tiles = int(self.tile_index.max()) + 1
            group = torch.randperm(n_tiles, generator=self.random) // self.config.tiles_per_batch
            order = order[torch.argsort(group[self.tile_index[order]], stable=True)]
        batches = order.split(self.config.batch_size)[: self.steps_per_epoch]
        shuffled = torch.randperm(len(batches), generator=self.random)
        return [batches[i] for i in shuffled.tolist()]

    def step(self, batch: Tensor) -> Tensor:
        """Learn from one batch.

        Args:
            batch: (B,) int64, indices of its cells.

        Returns:
            The loss, a scalar on the device.
        """
        loss = self.loss(batch)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        return loss.detach()

    def loss(self, batch: Tensor) -> Tensor:
        """Return how badly two views of each cell are known as its own; of some, the second is of a neighbour.

        Args:
            batch: (B,) int64, indices of the cells.
        """
        one, two = self.see(torch.cat([batch, self.partners(batch)])).chunk(2)
        return contrastive_loss(one, two, self.config.temperature)

    def partners(self, batch: Tensor) -> Tensor:
        """Return which cell the second view of each cell is of, (B,) int64: itself, or a random neighbour."""
        column = torch.randint(self.neighbours.shape[1], batch.shape, generator=self.random)
        is_neighbour = torch.rand(batch.shape, generator=self.random) < self.config.neighbour_share
        return torch.where(is_neighbour, self.neighbours[batch, column], batch)

    def see(self, chosen: Tensor) -> Tensor:
        """Return what the head makes of a random view of each of some cells, (B,) int64 indices → (B, …)."""
        cells = self.crops[move(chosen, self.device)].permute(0, 3, 1, 2).contiguous() / 127.5 - 1
        shown = views(cells, self.config, self.random).contiguous(memory_format=torch.channels_last)
        with forward_precision(self.run_config, self.device):
            made: Tensor = self.head(self.encoder(shown))
        return made

    def state(self) -> dict[str, Any]:
        """Return all that decides the rest of the training, as tensors and plain values."""
        return {
            "epoch": self.epoch,
            "random": self.random.get_state(),
            "encoder": self.encoder.state_dict(),
            "head": self.head.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a state that `state` returned."""
        self.epoch = state["epoch"]
        self.random.set_state(state["random"].cpu())
        self.encoder.load_state_dict(state["encoder"])
        self.head.load_state_dict(state["head"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])


def encoder_config(config: TrainConfig) -> EncoderConfig:
    """Return the section of the encoder.

    Raises:
        ConfigError: the configuration has none.
    """
    if config.encoder is None:
        raise ConfigError("The configuration has no encoder; describe one in its section [train.encoder].")
    return config.encoder
