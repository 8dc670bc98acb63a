"""The losses of WGAN-GP + InfoGAN (paper §III-A1, eq. 10–12), and a faster backward pass of the gradient penalty."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

LINEAR_LAYERS = (torch.conv2d, functional.avg_pool2d, functional.relu)
"""The functions of torch that `PiecewiseLinear` replaces; ReLU is linear on each side of 0."""


def critic_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Return eq. 10 without its penalty: E[D(G(z, c))] − E[D(x)].

    Args:
        real_scores: (B,) D(x).
        fake_scores: (B,) D(G(z, c)).
    """
    return fake_scores.float().mean() - real_scores.float().mean()


def gradient_penalty(score: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """Return eq. 10's penalty without its weight: E[(‖∇D(x̂)‖₂ − 1)²] on x̂ = mix · real + (1 − mix) · fake.

    Args:
        score: D, (B, 3, S, S) → (B,).
        real: (B, 3, S, S) real cells.
        fake: (B, 3, S, S) generated cells, detached.
        mix: (B,) uniform in [0, 1].
    """
    weight = mix.view(-1, 1, 1, 1)
    between = (weight * real + (1 - weight) * fake).requires_grad_(True)
    (gradient,) = torch.autograd.grad(score(between).float().sum(), between, create_graph=True)
    return ((gradient.float().flatten(1).norm(2, dim=1) - 1) ** 2).mean()


class PiecewiseLinear(TorchFunctionMode):
    """Inside this context, D's score is computed so that the penalty on its gradient costs less to differentiate.

    The gradient of a piecewise linear network at x depends on the network's weights, but, within a piece, not on x: the
    second derivative by x is zero. PyTorch does not know that, and propagates zeros back through the whole forward
    pass. Without these zeros, the gradients are the same to the last bit, and a step of the critic takes a sixth less
    time.

    It is only for networks that consist of `LINEAR_LAYERS` and linear layers, and only for losses that depend on the
    network's gradient alone, as `gradient_penalty` does.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch; PyTorch calls this for each of them inside the context."""
        if func in LINEAR_LAYERS:
            args = (_FirstDerivative.apply(args[0]), *args[1:])
        return func(*args, **(kwargs or {}))


class _FirstDerivative(torch.autograd.Function):
    """Identity that passes the gradient on in the first backward pass, and stops it in the second."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Tensor | None:
        # Gradients are enabled in the first backward pass only, which is itself to be differentiated.
        return gradients[0] if torch.is_grad_enabled() else None


def generator_loss(fake_scores: Tensor) -> Tensor:
    """Return eq. 11: −E[D(G(z, c))], of (B,) scores."""
    return -fake_scores.float().mean()


def code_loss(logits: Tensor, codes: Tensor) -> Tensor:
    """Return eq. 12 with the sign of the text, a negative log-likelihood: −E[log Q(c | G(z, c))].

    The paper prints eq. 12 without the minus; minimising that would drive Q away from c.

    Args:
        logits: (B, K) Q before its softmax.
        codes: (B,) int64 index of the one-hot c.
    """
    return functional.cross_entropy(logits.float(), codes)


def mode_seeking_loss(cells: Tensor, latents: Tensor) -> Tensor:
    """Return how little z matters: the distance of latents over the distance of cells, for pairs (i, i + B/2).

    Not in the paper (Mao et al. 2019, mode-seeking GAN). Without it the prototypes of a cluster are nearly identical.

    Args:
        cells: (B, 3, S, S) in [-1, 1], B even; cell i + B/2 is generated with the code of cell i.
        latents: (B, Z) the z of each cell.
    """
    cells, half = cells.float(), len(cells) // 2
    cell_distance = (cells[:half] - cells[half:]).abs().mean(dim=(1, 2, 3))
    latent_distance = (latents[:half] - latents[half:]).abs().mean(dim=1)
    return (latent_distance / (cell_distance + 1e-3)).mean()
