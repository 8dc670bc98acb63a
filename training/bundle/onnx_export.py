"""Networks in PyTorch → ONNX files; Q's mean pooling and batch norm are folded into its convolutions."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from safetensors.torch import save as safetensors
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from app.files import whole_file, write_whole
from app.pipeline.manifest import SEGMENTER_ONNX, SEGMENTER_WEIGHTS
from app.pipeline.networks.architecture import (
    ClusterNet,
    Encoder,
    EncoderBlock,
    FirstDownBlock,
    NormConv,
    ResBlock,
    Segmenter,
)
from app.pipeline.nuclei.network import GRID_PX

OPSET = 18


def write_onnx(
    net: nn.Module,
    example: Tensor,
    path: Path,
    input_name: str,
    output_names: list[str],
    sizes: dict[int, Any] | None = None,
) -> None:
    """Write a network of one input as an ONNX file that needs no other file; its batch may have any size.

    Args:
        net: on the CPU.
        example: an input, (B, …) with B ≥ 2.
        path: file to write, whole or not at all.
        input_name: name of the input.
        output_names: names of the outputs.
        sizes: further axes of the input that may have any size, see `torch.export.Dim`.

    Raises:
        OSError: it cannot be written.
    """
    net = net.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    # The exporter prints its progress, and warns and logs about its own dependencies.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with whole_file(path) as temporary, contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            (example,),
            temporary,
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            input_names=[input_name],
            output_names=output_names,
            dynamic_shapes=({0: torch.export.Dim("batch"), **(sizes or {})},),
        )
        model = onnx.load(temporary)
        _remove_metadata(model)
        temporary.write_bytes(model.SerializeToString())


class SegmenterMaps(nn.Module):
    """The segmenter as it is served: it gives probabilities."""

    def __init__(self, net: Segmenter) -> None:
        super().__init__()
        self.net = net

    def forward(self, tiles: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] → (B, 2, H, W), nucleus and depth, 0–1."""
        return torch.sigmoid(self.net(tiles))


def write_segmenter(net: Segmenter, directory: Path) -> None:
    """Write the segmenter as ONNX, and its weights for PyTorch.

    Args:
        net: on the CPU.
        directory: receives `SEGMENTER_ONNX` and `SEGMENTER_WEIGHTS`.

    Raises:
        OSError: a file cannot be written.
    """
    # Height and width are multiples of the grid.
    sizes = {2: GRID_PX * torch.export.Dim("rows", min=2), 3: GRID_PX * torch.export.Dim("columns", min=2)}
    example = torch.zeros(2, 3, 8 * GRID_PX, 6 * GRID_PX)
    write_onnx(SegmenterMaps(net), example, directory / SEGMENTER_ONNX, "tiles", ["maps"], sizes)
    weights = {name: value.contiguous() for name, value in net.state_dict().items()}
    write_whole(safetensors(weights), directory / SEGMENTER_WEIGHTS)


def _remove_metadata(model: onnx.ModelProto) -> None:
    """Remove the exporter's notes on the origin of each node: they name source files by their paths on this machine."""
    graph = model.graph
    for holder in (model, graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        del holder.metadata_props[:]


def fold_pooling(q: ClusterNet) -> ClusterNet:
    """Return a copy of Q, without pooling and batch norm, that gives what Q gives, up to rounding, in less time."""
    folded = copy.deepcopy(q).eval()
    if isinstance(folded.trunk, Encoder):
        folded.trunk.add_module("stem", folded_conv(folded.trunk.stem))
    blocks = folded.trunk.blocks
    for i, block in enumerate(blocks):
        if isinstance(block, EncoderBlock):
            blocks[i] = FoldedEncoderBlock(block)
        elif isinstance(block, FirstDownBlock) or (isinstance(block, ResBlock) and block.down):
            blocks[i] = FoldedDownBlock(block)
    return folded.eval()


class FoldedEncoderBlock(nn.Module):
    """A block of the encoder, without batch norm and pooling.

    Args:
        block: in evaluation mode.
    """

    def __init__(self, block: EncoderBlock) -> None:
        super().__init__()
        self.conv1 = folded_conv(block.conv1)
        self.conv2 = folded_conv(block.conv2)
        # A 1×1 convolution and mean pooling commute.
        self.shortcut = pooled_conv(folded_conv(block.shortcut))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) → (B, C', S/2, S/2), not negative."""
        h = self.conv2(functional.relu(self.conv1(x)))
        return functional.relu(h + self.shortcut(x))


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


def folded_conv(layer: NormConv) -> nn.Conv2d:
    """Return one convolution that equals a convolution and its batch norm, in evaluation mode."""
    conv, norm = layer
    assert isinstance(conv, nn.Conv2d)  # noqa: S101 - for mypy: an element of a sequence may be any module
    assert isinstance(norm, nn.BatchNorm2d)  # noqa: S101 - for mypy, as above
    return fuse_conv_bn_eval(conv, norm)


def pooled_conv(conv: nn.Module) -> nn.Conv2d:
    """Return a convolution of stride 2 that equals `conv` followed by 2 × 2 mean pooling.

    The mean of four shifted k × k kernels is a (k + 1) × (k + 1) kernel: for k = 3, 16 multiplications per pooled pixel
    in place of 36.

    Args:
        conv: a convolution with an odd, square kernel, at stride 1.
    """
    assert isinstance(conv, nn.Conv2d)  # noqa: S101 - for mypy: an attribute of a module may be anything
    assert conv.bias is not None  # noqa: S101 - for mypy: a folded Q has a bias everywhere
    edge = conv.kernel_size[0] + 1
    pooled = nn.Conv2d(conv.in_channels, conv.out_channels, edge, stride=2, padding=conv.padding)  # type: ignore[arg-type]
    shifts = [(x, 1 - x, y, 1 - y) for x in (0, 1) for y in (0, 1)]
    with torch.no_grad():
        pooled.weight.copy_(torch.stack([functional.pad(conv.weight, shift) for shift in shifts]).mean(dim=0))
        assert pooled.bias is not None  # noqa: S101 - for mypy: it was made with one
        pooled.bias.copy_(conv.bias)
    return pooled
