"""The precision that networks compute in while they are trained."""

from __future__ import annotations

import torch

from training.config import TrainConfig


def forward_precision(config: TrainConfig, device: torch.device) -> torch.autocast:
    """Return the context of one forward pass, in the configuration's precision.

    Use a new context for each pass: until it ends, autocast keeps the narrowed copies of the weights, even if an
    optimiser has changed the weights since.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16")
