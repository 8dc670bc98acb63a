"""How the encoder learns without labels: two random views of each cell, and a loss that tells cells apart.

Both are those of Chen et al. 2020 (SimCLR), with views that fit stained nuclei.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from training.config import EncoderConfig

DARKEST = 1 / 256
"""The transmission that a black pixel is taken to have, so that its optical density is finite."""
SHARED_PART = 0.58
"""Of `density_jitter`: the part that all channels of a view share; each channel has half as much of its own."""
LARGEST_NEAR_PX = 8
"""The surroundings of a near view end at most this far from the nucleus, px of the field at half size."""


def move(drawn: Tensor, device: torch.device) -> Tensor:
    """Move a tensor that was drawn on the CPU to the device, without waiting for what the device is still computing."""
    return drawn.to(device, non_blocking=True)


def views(batch: Tensor, config: EncoderConfig, random: torch.Generator) -> Tensor:
    """Return a random view of each cell: hidden far surroundings, then another pose, stain and sharpness.

    White stays white. The nucleus and its surroundings are varied alike; the mask has the pose alone.

    Args:
        batch: (B, C, 32, 32) in [-1, 1]; C is 3, or 7 with the channels of `app.pipeline.crops.crop_cells`.
        config: strengths and shares of the changes.
        random: CPU generator that every draw comes from.

    Returns:
        (B, C, 32, 32) in [-1, 1].
    """
    pictures, mask = [*batch[:, :6].split(3, dim=1)], batch[:, 6:]
    if len(pictures) == 2:
        pictures[1] = _hide_far(pictures[1], mask, config.near_share, random)
    posed = _pose(torch.cat([*pictures, mask], dim=1), config, random)
    n, n_coloured = len(batch), 3 * len(pictures)
    # (B, P, 3, 32, 32): whatever is drawn for a cell holds for all of its P pictures.
    coloured = _stain(posed[:, :n_coloured].unflatten(1, (-1, 3)), config.density_jitter, random)
    blurred = _some(n, config.blur_share, random, batch.device)
    coloured = coloured.index_copy(0, blurred, _blur(coloured[blurred]))
    grey = _some(n, config.grey_share, random, batch.device)
    coloured = coloured.index_copy(0, grey, coloured[grey].mean(dim=2, keepdim=True).expand(-1, -1, 3, -1, -1))
    return torch.cat([coloured.flatten(1, 2), posed[:, n_coloured:]], dim=1)


def contrastive_loss(one: Tensor, two: Tensor, temperature: float) -> Tensor:
    """Return how badly a view of each cell is told from the views of all others (NT-Xent, Chen et al. 2020, eq. 1).

    Args:
        one: (B, D), projections of a view of each cell.
        two: (B, D), projections of another view of the same cells.
        temperature: what cosine similarities are divided by.

    Returns:
        The mean over the 2B views, a float32 scalar.
    """
    n = len(one)
    projections = functional.normalize(torch.cat([one, two]).float(), dim=1)
    similarities = (projections @ projections.T / temperature).fill_diagonal_(-math.inf)
    other_view = torch.arange(2 * n, device=one.device).roll(n)
    return functional.cross_entropy(similarities, other_view)


def _some(n: int, share: float, random: torch.Generator, device: torch.device) -> Tensor:
    """Choose each of n cells with the probability `share`; return the indices of those chosen, (m,) int64."""
    return move((torch.rand(n, generator=random) < share).nonzero().squeeze(1), device)


def _uniform(n: int, largest: float, random: torch.Generator) -> Tensor:
    """Draw (n,) values from -largest … largest, on the CPU."""
    return (2 * torch.rand(n, generator=random) - 1) * largest


def _hide_far(field: Tensor, mask: Tensor, share: float, random: torch.Generator) -> Tensor:
    """Make white what lies farther from the nucleus than a random distance of 1 to `LARGEST_NEAR_PX`, in some cells.

    Args:
        field: (B, 3, 32, 32) in [-1, 1], the surroundings.
        mask: (B, 1, 32, 32) in [-1, 1], the nucleus in them.
        share: of the cells in which anything is hidden.
        random: CPU generator.
    """
    chosen = _some(len(field), share, random, field.device)
    radius = move(torch.randint(1, LARGEST_NEAR_PX + 1, (len(chosen), 1, 1, 1), generator=random), field.device)
    near = mask[chosen].contiguous()  # pooling takes several times as long where the channels come last
    for px in range(1, LARGEST_NEAR_PX + 1):
        near = torch.where(radius >= px, functional.max_pool2d(near, 3, stride=1, padding=1), near)
    return field.index_copy(0, chosen, torch.where(near > 0, field[chosen], 1.0))


def _pose(batch: Tensor, config: EncoderConfig, random: torch.Generator) -> Tensor:
    """Turn, mirror, scale and shift each cell of (B, C, 32, 32); beyond its edge it goes on as at the edge."""
    n = len(batch)
    turn = torch.randint(4, (n,), generator=random) * (math.pi / 2)
    turn = turn + _uniform(n, math.radians(config.max_turn_degrees), random)
    mirror = 1 - 2 * torch.randint(2, (n,), generator=random)
    scale = 1 + _uniform(n, config.scale_jitter, random)
    shift = _uniform(2 * n, config.shift, random).view(n, 2)
    x, y = scale * turn.cos(), scale * turn.sin()
    rows = [torch.stack([mirror * x, -y, shift[:, 0]], dim=1), torch.stack([mirror * y, x, shift[:, 1]], dim=1)]
    places = functional.affine_grid(torch.stack(rows, dim=1), list(batch.shape), align_corners=False)
    return functional.grid_sample(batch, move(places, batch.device), padding_mode="border", align_corners=False)


def _stain(pictures: Tensor, jitter: float, random: torch.Generator) -> Tensor:
    """Make the stains of each cell of (B, P, 3, 32, 32) stronger or weaker: multiply the optical density."""
    n = len(pictures)
    shared = torch.randn((n, 1, 1, 1, 1), generator=random)
    channel = torch.randn((n, 1, 3, 1, 1), generator=random)
    factor = move(torch.exp(SHARED_PART * jitter * (shared + channel / 2)), pictures.device)
    return ((pictures + 1) / 2).clamp(DARKEST, 1) ** factor * 2 - 1


def _blur(pictures: Tensor) -> Tensor:
    """Return (B, P, 3, 32, 32) with the mean of the 3 × 3 px round each pixel."""
    padded = functional.pad(pictures.flatten(1, 2), (1, 1, 1, 1), mode="replicate")
    return functional.avg_pool2d(padded, 3, stride=1).view_as(pictures)
