"""The losses of WGAN-GP + InfoGAN (paper §III-A1, eq. 10–12)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def critic_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Eq. 10 without its penalty: E[D(G(z, c))] − E[D(x)].

    Args:
        real_scores: (B,) D(x).
        fake_scores: (B,) D(G(z, c)).
    """
    return fake_scores.float().mean() - real_scores.float().mean()


def gradient_penalty(score: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """Eq. 10's penalty without its weight: E[(‖∇D(x̂)‖₂ − 1)²] on x̂ = mix · real + (1 − mix) · fake.

    Args:
        score: D, (B, 3, S, S) → (B,).
        real: (B, 3, S, S).
        fake: (B, 3, S, S), detached.
        mix: (B,) uniform in [0, 1].
    """
    weight = mix.view(-1, 1, 1, 1)
    between = (weight * real + (1 - weight) * fake).requires_grad_(True)
    (gradient,) = torch.autograd.grad(score(between).float().sum(), between, create_graph=True)
    return ((gradient.float().flatten(1).norm(2, dim=1) - 1) ** 2).mean()


def generator_loss(fake_scores: Tensor) -> Tensor:
    """Eq. 11: −E[D(G(z, c))], of (B,) scores."""
    return -fake_scores.float().mean()


def code_loss(logits: Tensor, codes: Tensor) -> Tensor:
    """Eq. 12 with the sign of the text, a negative log-likelihood: −E[log Q(c | G(z, c))].

    The paper prints eq. 12 without the minus; minimising that would drive Q away from c.

    Args:
        logits: (B, K) Q before its softmax.
        codes: (B,) int64 index of the one-hot c.
    """
    return functional.cross_entropy(logits.float(), codes)


def mode_seeking_loss(cells: Tensor, latents: Tensor) -> Tensor:
    """How little z matters: distance of latents over distance of cells, for pairs (i, i + B/2) that share their code.

    Not in the paper (Mao et al. 2019, mode-seeking GAN). Without it the prototypes of a cluster are nearly identical.

    Args:
        cells: (B, 3, S, S) in [-1, 1], B even, second half generated with the codes of the first.
        latents: (B, Z).
    """
    cells, half = cells.float(), len(cells) // 2
    apart = (cells[:half] - cells[half:]).abs().mean(dim=(1, 2, 3))
    asked = (latents[:half] - latents[half:]).abs().mean(dim=1)
    return (asked / (apart + 1e-3)).mean()
