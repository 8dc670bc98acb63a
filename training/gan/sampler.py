"""Batches of real cells for the training, and the rotations, mirror images and stains that they are varied by."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from app.pipeline.crops import to_network
from app.pipeline.types import UInt8Array
from training.representation.encoder import DARKEST, move


class CropSampler:
    """Random batches of crops, each rotated by a random multiple of 90° (paper §IV-B).

    Args:
        crops: (N, 32, 32, C) uint8.
        batch_size: B.
        random: CPU generator that every draw comes from.
        device: the crops are kept there, and the batches are made there.
    """

    def __init__(self, crops: UInt8Array, batch_size: int, random: torch.Generator, device: torch.device) -> None:
        self.crops = torch.from_numpy(to_network(crops)).to(device)
        self.batch_size = batch_size
        self.random = random

    def __call__(self) -> Tensor:
        """Return the next batch, (B, C, 32, 32) float32 in [-1, 1]."""
        return rotate(self.draw()[0], self.random)

    def draw(self) -> tuple[Tensor, Tensor]:
        """Return a batch as it was cut, (B, C, 32, 32) float32 in [-1, 1], and the indices of its cells, (B,) int64."""
        drawn = torch.randint(len(self.crops), (self.batch_size,), generator=self.random)
        chosen = move(drawn, self.crops.device)
        return self.crops[chosen], chosen


def rotate(batch: Tensor, random: torch.Generator) -> Tensor:
    """Rotate every crop of (B, C, S, S) by a random multiple of 90° of its own; differentiable."""
    turns = move(torch.randint(4, (len(batch),), generator=random), batch.device)
    every = torch.stack([torch.rot90(batch, quarter, dims=(2, 3)) for quarter in range(4)])
    return every[turns, torch.arange(len(batch), device=batch.device)]


def mirror(batch: Tensor, random: torch.Generator) -> Tensor:
    """Mirror each crop of (B, C, S, S) with probability 1/2; with `rotate`, all eight symmetries of the square."""
    chosen = move(torch.rand(len(batch), generator=random) < 0.5, batch.device)
    return torch.where(chosen[:, None, None, None], batch.flip(3), batch)


def shift(batch: Tensor, largest_px: int, random: torch.Generator) -> Tensor:
    """Shift each crop of (B, C, S, S) by whole pixels, at random up to the largest each way; its edges are repeated.

    Differentiable. Shifts by parts of a pixel would blur what D is to see.
    """
    if not largest_px:
        return batch
    size = batch.shape[-1]
    padded = functional.pad(batch, (largest_px,) * 4, mode="replicate")
    drawn = torch.randint(2 * largest_px + 1, (2, len(batch), 1), generator=random)
    rows, columns = move(drawn + torch.arange(size), batch.device)
    cells = torch.arange(len(batch), device=batch.device)[:, None, None]
    # Channels last while indexing: (B, S, S, C).
    return padded.permute(0, 2, 3, 1)[cells, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def tint(batch: Tensor, sd: float, random: torch.Generator) -> Tensor:
    """Make the stains of each crop stronger or weaker: scale each channel's optical density by a random factor.

    White stays white. A factor is log-normal: one part that all channels of a crop share, times one part per channel.
    The factors of the nucleus are those of its surroundings, and the mask is no picture: it stays.

    Args:
        batch: (B, C, S, S) in [-1, 1]; C is 3, or 7 with the channels of `app.pipeline.crops.crop_cells`.
        sd: standard deviation of the logarithm of each of the two parts.
        random: CPU generator.
    """
    shape = (len(batch), 1, 1, 1)
    shared = torch.randn(shape, generator=random)
    channel = torch.randn((len(batch), 3, 1, 1), generator=random)
    factor = move(torch.exp(sd * (shared + channel)), batch.device)
    pictures, mask = batch[:, :6], batch[:, 6:]
    transmission = ((pictures + 1) / 2).clamp_min(DARKEST)
    tinted = transmission ** factor.repeat(1, pictures.shape[1] // 3, 1, 1) * 2 - 1
    return torch.cat([tinted, mask], dim=1)
