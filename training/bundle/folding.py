"""Q for export: mean pooling folded into the convolution before it, the same numbers with fewer multiplications."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.pipeline.networks.architecture import ClusterNet, FirstDownBlock, ResBlock


class FoldedDownBlock(nn.Module):
    """A block that halves its map, without the pooling.

    Args:
        block: `FirstDownBlock`, or `ResBlock` with `down`.
    """

    def __init__(self, block: FirstDownBlock | ResBlock) -> None:
        super().__init__()
        self.activates_input = isinstance(block, ResBlock)
        self.conv1 = block.conv1
        self.conv2 = pooled_conv(block.conv2)
        self.shortcut = pooled_conv(block.shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) → (B, C', S/2, S/2)."""
        inside = functional.relu(x) if self.activates_input else x
        return self.conv2(functional.relu(self.conv1(inside))) + self.shortcut(x)


def pooled_conv(conv: nn.Module) -> nn.Conv2d:
    """A convolution followed by 2 × 2 mean pooling, as one of stride 2.

    The mean of four shifted k × k kernels is a (k + 1) × (k + 1) kernel: for k = 3, 16 multiplications per pooled pixel
    in place of 36.

    Args:
        conv: an odd, square kernel at stride 1.
    """
    assert isinstance(conv, nn.Conv2d)  # noqa: S101 - for mypy: an attribute of a module may be anything
    assert conv.bias is not None  # noqa: S101 - for mypy: Q has a bias everywhere
    edge = conv.kernel_size[0] + 1
    pooled = nn.Conv2d(conv.in_channels, conv.out_channels, edge, stride=2, padding=conv.padding)  # type: ignore[arg-type]
    shifts = [(x, 1 - x, y, 1 - y) for x in (0, 1) for y in (0, 1)]
    with torch.no_grad():
        pooled.weight.copy_(torch.stack([functional.pad(conv.weight, shift) for shift in shifts]).mean(dim=0))
        assert pooled.bias is not None  # noqa: S101 - for mypy: it was made with one
        pooled.bias.copy_(conv.bias)
    return pooled


def fold_pooling(q: ClusterNet) -> ClusterNet:
    """A copy of Q without pooling that gives what Q gives, but for rounding."""
    folded = copy.deepcopy(q)
    blocks = folded.trunk.blocks
    for i, block in enumerate(blocks):
        if isinstance(block, FirstDownBlock) or (isinstance(block, ResBlock) and block.down):
            blocks[i] = FoldedDownBlock(block)
    return folded.eval()
