"""Batches of real cells for the loop, and how they are turned and tinted."""

from __future__ import annotations

import torch
from torch import Tensor

from app.pipeline.crops import to_network
from app.pipeline.types import Int64Array, UInt8Array

DARKEST = 1 / 256
"""Transmission that stands for a black pixel, so that its optical density is finite."""


class CropSampler:
    """Random batches of crops, each rotated by a random multiple of 90° (paper §IV-B).

    Args:
        crops: (N, 32, 32, 3) uint8.
        anchors: (N,) int64 in 0 … K − 1.
        batch_size: B.
        random: CPU generator that every draw comes from.
        device: where the crops are kept and batches are made.
    """

    def __init__(
        self, crops: UInt8Array, anchors: Int64Array, batch_size: int, random: torch.Generator, device: torch.device
    ) -> None:
        self.crops = torch.from_numpy(to_network(crops)).to(device)
        self.anchors = torch.from_numpy(anchors).to(device)
        self.batch_size = batch_size
        self.random = random

    def __call__(self) -> tuple[Tensor, Tensor]:
        """The next batch, (B, 3, 32, 32) float32 in [-1, 1], and its anchors, (B,) int64."""
        chosen = self._draw(self.batch_size)
        return rotate(self.crops[chosen], self.random), self.anchors[chosen]

    def tinted(self, batch_size: int, stain_jitter: float) -> tuple[Tensor, Tensor]:
        """A batch of another size, mirrored and tinted too."""
        chosen = self._draw(batch_size)
        turned = mirror(rotate(self.crops[chosen], self.random), self.random)
        return tint(turned, stain_jitter, self.random), self.anchors[chosen]

    def _draw(self, batch_size: int) -> Tensor:
        return torch.randint(len(self.crops), (batch_size,), generator=self.random).to(self.crops.device)


def rotate(batch: Tensor, random: torch.Generator) -> Tensor:
    """Turn every crop of (B, 3, S, S) by its own random multiple of 90°; differentiable."""
    turns = torch.randint(4, (len(batch),), generator=random).to(batch.device)
    every = torch.stack([torch.rot90(batch, quarter, dims=(2, 3)) for quarter in range(4)])
    return every[turns, torch.arange(len(batch), device=batch.device)]


def mirror(batch: Tensor, random: torch.Generator) -> Tensor:
    """Mirror every crop of (B, 3, S, S) or not, at even odds; with `rotate`, all eight symmetries of the square."""
    chosen = (torch.rand(len(batch), generator=random) < 0.5).to(batch.device)
    return torch.where(chosen[:, None, None, None], batch.flip(3), batch)


def tint(batch: Tensor, sd: float, random: torch.Generator) -> Tensor:
    """Stain every crop of (B, 3, S, S) in [-1, 1] more or less: each channel's optical density times its own factor.

    White stays white. The factors are log-normal: one of the crop, `sd`, times one of the channel, `sd`.
    """
    shape = (len(batch), 1, 1, 1)
    whole = torch.randn(shape, generator=random)
    channel = torch.randn((len(batch), batch.shape[1], 1, 1), generator=random)
    factor = torch.exp(sd * (whole + channel)).to(batch.device)
    transmission = ((batch + 1) / 2).clamp_min(DARKEST)
    return transmission**factor * 2 - 1
