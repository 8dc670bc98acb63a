"""Views of a tile: the eight symmetries of the square, and the random views that the network learns from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from app.pipeline.presets import LEARNED
from app.pipeline.types import UInt8Array
from training.config import SegmenterConfig
from training.segmenter.drawn import drawn_lesson

SYMMETRIES = range(8)
"""The four quarter turns of a picture, and of its mirror image."""
DRAWN_TILES = 64
"""Number of drawn tiles that are learned from, where any are."""
DARKEST = 1 / 256
"""The transmission that a black pixel is taken to have, so that its optical density is finite."""


def view(image: Tensor, symmetry: int) -> Tensor:
    """Turn (…, h, w) by quarter turns and, from 4 on, mirror it before."""
    mirrored = image.flip(-1) if symmetry >= 4 else image
    return torch.rot90(mirrored, symmetry % 4, dims=(-2, -1))


def view_back(image: Tensor, symmetry: int) -> Tensor:
    """Undo `view`."""
    turned = torch.rot90(image, -(symmetry % 4), dims=(-2, -1))
    return turned.flip(-1) if symmetry >= 4 else turned


def restain(tiles: Tensor, factors: Tensor) -> Tensor:
    """Make stains stronger or weaker: multiply the optical density. White stays white.

    Args:
        tiles: (B, 3, h, w) float32, transmission, 0–1.
        factors: of the optical density, of a shape that fits to (B, 3, h, w).
    """
    return tiles.clamp_min(DARKEST) ** factors


class LessonSampler:
    """Random views of random squares of tiles, with what the network is to learn there.

    Every set of tiles is drawn equally often, and every tile of a set.

    Args:
        lessons: for each set, (h, w, 7) uint8 of each tile: its pixels, and its pseudo-labels.
        config: sizes and strengths of the views.
        random: CPU generator that every draw comes from.
    """

    def __init__(
        self, lessons: Sequence[Sequence[UInt8Array]], config: SegmenterConfig, random: torch.Generator
    ) -> None:
        self.lessons = [[_large_enough(tile, config) for tile in tiles] for tiles in lessons]
        # Drawn from the seed alone, so that a run that is resumed has the same ones.
        drawing = np.random.default_rng(config.seed)
        edge = round(config.crop_px * config.scale_range[1])
        n_drawn = DRAWN_TILES if config.drawn_share else 0
        self.drawn = [drawn_lesson(drawing, edge, LEARNED.reduction) for _ in range(n_drawn)]
        self.config = config
        self.random = random

    def __call__(self) -> tuple[Tensor, Tensor]:
        """Return the next batch, float32: tiles in [-1, 1], (B, 3, s, s), and pseudo-labels, 0–1, (B, 4, s, s)."""
        batch = torch.stack([self._square() for _ in range(self.config.batch_size)])
        tiles, labels = batch.split((3, batch.shape[1] - 3), dim=1)
        return self._varied(tiles) * 2 - 1, labels

    def _square(self) -> Tensor:
        """Return a square of a tile and its labels at a random place, scale and turn, (7, s, s) float32, 0–1."""
        size, (smallest, largest) = self.config.crop_px, self.config.scale_range
        is_drawn = float(self._uniform(0, 1)) < self.config.drawn_share
        tiles = self.drawn if is_drawn else self.lessons[self._below(len(self.lessons))]
        tile = tiles[self._below(len(tiles))]
        edge = round(size * float(self._uniform(smallest, largest)))
        y, x = (self._below(length - edge + 1) for length in tile.shape[:2])
        square = torch.from_numpy(tile[y : y + edge, x : x + edge]).permute(2, 0, 1).float() / 255
        square = functional.interpolate(square[None], (size, size), mode="bilinear", align_corners=False)[0]
        return view(square, self._below(len(SYMMETRIES)))

    def _varied(self, tiles: Tensor) -> Tensor:
        """Vary stain, sharpness and noise of a batch, transmission 0–1."""
        config, n = self.config, len(tiles)
        density = self._uniform(*config.density_range, (n, 1, 1, 1))
        channels = self._uniform(-config.channel_jitter, config.channel_jitter, (n, 3, 1, 1))
        tiles = restain(tiles, torch.exp(density + channels))
        sigma = self._uniform(0.3, config.max_blur_px, (n,))
        blurred = _blur(tiles, sigma)
        chosen = torch.rand(n, generator=self.random) < config.blur_share
        tiles = torch.where(chosen[:, None, None, None], blurred, tiles)
        noise = torch.randn(tiles.shape, generator=self.random)
        return tiles + noise * self._uniform(0, config.max_noise, (n, 1, 1, 1))

    def _below(self, number: int) -> int:
        return int(torch.randint(number, (), generator=self.random))

    def _uniform(self, low: float, high: float, shape: tuple[int, ...] = ()) -> Tensor:
        return torch.rand(shape, generator=self.random) * (high - low) + low


def _large_enough(tile: UInt8Array, config: SegmenterConfig) -> UInt8Array:
    """Return a tile that holds the largest square; white that is sure to hold no nucleus is added to a smaller one."""
    edge = round(config.crop_px * config.scale_range[1])
    missing = [max(0, edge - length) for length in tile.shape[:2]]
    grown = np.pad(tile, ((0, missing[0]), (0, missing[1]), (0, 0)))
    grown[tile.shape[0] :, :, :3] = grown[:, tile.shape[1] :, :3] = 255
    return grown


def _blur(tiles: Tensor, sigma: Tensor) -> Tensor:
    """Blur each picture of (B, 3, h, w) by a Gaussian of 5 px with its own sigma in px, (B,)."""
    n, channels = tiles.shape[:2]
    kernel = torch.exp(-(torch.arange(-2, 3).float() ** 2) / 2 / sigma[:, None] ** 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)[:, None, None]
    flat = functional.pad(tiles.reshape(1, n * channels, *tiles.shape[2:]), (2, 2, 2, 2), mode="reflect")
    flat = functional.conv2d(flat, kernel, groups=n * channels)
    return functional.conv2d(flat, kernel.transpose(2, 3), groups=n * channels).view_as(tiles)
