"""The segmenter in 8-bit integers, as ONNX Runtime computes it fastest on a CPU.

The quantiser leaves a network that spends as much time on moving numbers as on computing: it brings channels to the
front and back, doubles maps and joins maps, each by a general routine. Here channels are last from beginning to end, a
map is doubled by copying whole pixels, and two maps that are joined have one scale, so that joining them is a copy. The
measurements are in docs/decisions/0012-speed.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from app.pipeline.networks.architecture import Segmenter
from app.pipeline.types import Float32Array, Float64Array

MICROSOFT = "com.microsoft"
"""The domain of the operators that ONNX Runtime adds to ONNX. Two of them take maps whose channels are last."""
OPSET, IR_VERSION = 18, 10
PIXEL_SCALE, PIXEL_ZERO = 1 / 127.5, 128
"""A pixel p stands for p / 127.5 − 1. Taken for (p − PIXEL_ZERO) · PIXEL_SCALE, it is half a step too low."""


@dataclass(frozen=True, slots=True)
class Conv:
    """A 3×3 convolution of a quantised network, with its ReLU.

    Attributes:
        weights: (O, I, 3, 3) int8.
        weight_scale: (O,) float32, a scale for each output channel.
        bias: (O,) float64.
        scale: what one step of the map that it gives stands for; 0 stands for 0.
    """

    weights: NDArray[np.int8]
    weight_scale: Float32Array
    bias: Float64Array
    scale: float

    def of_pixels(self) -> Conv:
        """Return the first convolution for blocks of pixels whose values are in the order row, column, colour."""
        outputs, n_pixels = len(self.weights), Segmenter.BLOCK**2
        exact = self.weights * self.weight_scale[:, None, None, None].astype(np.float64)
        half_step = (PIXEL_ZERO - 127.5) * PIXEL_SCALE
        ordered = self.weights.reshape(outputs, 3, n_pixels, 3, 3).transpose(0, 2, 1, 3, 4)
        bias = self.bias + exact.sum(axis=(1, 2, 3)) * half_step
        return replace(self, weights=ordered.reshape(self.weights.shape), bias=bias)


def channels_last(rounded: onnx.ModelProto) -> onnx.ModelProto:
    """Return a quantised segmenter in the form that is fastest on a CPU.

    Args:
        rounded: what the quantiser made of a `Segmenter`, with the last convolution still in float32.

    Returns:
        A network of one input, "blocks", (B, h, w, 12) uint8, the RGB of 2 × 2 pixels in the order row, column, colour,
        h and w multiples of 4; and of one output, "maps", (B · h · w, 8) float32, the probabilities and the depths of
        the 2 × 2 pixels, 0–1, in the order map, row, column. They are those of `rounded` up to the rounding of its
        integers, but at the border of the input, which it takes to be surrounded by another grey.
    """
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in rounded.graph.initializer}
    d0, d0b, d1, d1b, d2, d2b, u1, u0 = _convs(rounded, values)
    at_half, at_full = (
        float(values[f"{node.output[0]}_scale"])
        for node in rounded.graph.node
        if node.op_type == "Concat" and f"{node.output[0]}_scale" in values
    )
    graph = _Graph()
    full = graph.convs("blocks", [d0.of_pixels(), replace(d0b, scale=at_full)], PIXEL_SCALE, PIXEL_ZERO)
    half = graph.convs(graph.pooled(full), [d1, replace(d1b, scale=at_half)], at_full)
    quarter = graph.convs(graph.pooled(half), [d2, replace(d2b, scale=at_half)], at_half)
    up = graph.convs(graph.joined(quarter, half, d2b), [replace(u1, scale=at_full)], at_half)
    up = graph.convs(graph.joined(up, full, u1), [u0], at_full)
    weights, offsets = (next(values[n] for n in values if n.endswith(end)) for end in ("head.weight", "head.bias"))
    graph.probabilities(up, u0, weights[:, :, 0, 0].T, offsets)
    return graph.model()


def _convs(rounded: onnx.ModelProto, values: dict[str, Any]) -> list[Conv]:
    """Return the convolutions that are quantised, in the order in which they are computed."""
    nodes = rounded.graph.node
    maker = {node.output[0]: node for node in nodes}
    quantiser = {node.input[0]: node for node in nodes if node.op_type == "QuantizeLinear"}
    found = []
    for node in nodes:
        if node.op_type == "Conv" and node.input[1] in maker:
            weights, weight_scale = (values[name] for name in maker[node.input[1]].input[:2])
            bias = np.zeros(len(weights))
            if len(node.input) > 2:  # the exporter leaves out a bias of zeros
                steps, bias_scale = (values[name] for name in maker[node.input[2]].input[:2])
                bias = steps * bias_scale.astype(np.float64)
            scale = float(values[quantiser[node.output[0]].input[1]])
            found.append(Conv(weights, weight_scale, bias, scale))
    return found


class _Graph:
    """The network while it is written: each method adds a step, and returns the name of the map that it gives."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def convs(self, seen: str, convs: Sequence[Conv], scale: float, zero: int = 0) -> str:
        """Add convolutions, one after the other; `scale` and `zero` are those of the map that the first one sees."""
        for conv in convs:
            bias = np.round(conv.bias / (scale * conv.weight_scale.astype(np.float64))).astype(np.int32)
            inputs = [
                seen,
                *self._quantisation(scale, zero),
                self._constant(conv.weights),
                self._constant(conv.weight_scale),
                self._constant(np.zeros(len(conv.weights), np.int8)),
                *self._quantisation(conv.scale),
                self._constant(bias),
            ]
            seen = self._add("QLinearConv", inputs, domain=MICROSOFT, channels_last=1, pads=[1] * 4)
            scale, zero = conv.scale, 0
        return seen

    def pooled(self, seen: str) -> str:
        """Halve a map: the largest of 2 × 2 pixels."""
        return self._add("NhwcMaxPool", [seen], domain=MICROSOFT, kernel_shape=[2, 2], strides=[2, 2])

    def joined(self, small: str, large: str, last: Conv) -> str:
        """Double a map that a convolution gives, and put the channels of the larger one behind its channels."""
        apart = self._add("Unsqueeze", [small, self._constant(np.array([2, 4]))])
        copied = self._add("Expand", [apart, self._constant(np.array([1, 1, 2, 1, 2, 1]))])
        size = self._add("Shape", [large], end=3)
        shape = self._add("Concat", [size, self._constant(np.array([len(last.weights)]))], axis=0)
        return self._add("Concat", [self._add("Reshape", [copied, shape]), large], axis=3)

    def probabilities(self, seen: str, last: Conv, weights: Float32Array, offsets: Float32Array) -> None:
        """Add the last convolution, in float32, and what makes probabilities of its logits."""
        exact = self._add("DequantizeLinear", [seen, *self._quantisation(last.scale)])
        pixels = self._add("Reshape", [exact, self._constant(np.array([-1, len(weights)]))])
        constants = [self._constant(np.ascontiguousarray(each)) for each in (weights, offsets)]
        self._nodes.append(helper.make_node("Sigmoid", [self._add("Gemm", [pixels, *constants])], ["maps"]))

    def model(self) -> onnx.ModelProto:
        """Return the network."""
        channels = 3 * Segmenter.BLOCK**2
        seen = helper.make_tensor_value_info("blocks", TensorProto.UINT8, ["batch", "rows", "columns", channels])
        given = helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["pixels", 2 * Segmenter.BLOCK**2])
        graph = helper.make_graph(self._nodes, "segmenter", [seen], [given], list(self._constants.values()))
        domains = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=domains, ir_version=IR_VERSION)

    def _add(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def _quantisation(self, scale: float, zero: int = 0) -> tuple[str, str]:
        return self._constant(np.float32(scale)), self._constant(np.uint8(zero))

    def _constant(self, value: Any) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants[name] = numpy_helper.from_array(np.asarray(value), name)
        return name
