"""Multiply-adds of a network, counted from the shapes of its ONNX graph."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
from onnx import numpy_helper, shape_inference

Shapes = dict[str, list[int]]


def multiply_adds(path: Path) -> int:
    """Of one item: those of its convolutions and matrix products; what is done element by element is not counted.

    Args:
        path: an ONNX file whose free dimensions are all the batch.

    Raises:
        ValueError: the graph has a product that this does not know how to count.
    """
    model = onnx.load(path)
    for value in model.graph.input:
        for dimension in value.type.tensor_type.shape.dim:
            if not dimension.HasField("dim_value"):
                dimension.dim_value = 1
    # Shapes that were stored for a free batch would stand against those of one item.
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    shapes: Shapes = {
        value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in [*inferred.input, *inferred.value_info, *inferred.output]
    }
    shapes |= {tensor.name: list(numpy_helper.to_array(tensor).shape) for tensor in inferred.initializer}
    return sum(_of_node(node, shapes) for node in inferred.node)


def _of_node(node: onnx.NodeProto, shapes: Shapes) -> int:
    if node.op_type in {"ConvTranspose", "Einsum", "LSTM", "GRU", "RNN", "MatMulInteger", "ConvInteger", "FusedConv"}:
        raise ValueError(f"The multiply-adds of {node.op_type} are not counted here.")
    if node.op_type == "Conv":
        # A weight is (out, in / groups, height, width): an output takes in / groups x height x width of them.
        return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
    if node.op_type == "MatMul":
        return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    if node.op_type == "Gemm":
        is_transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][0 if is_transposed else 1]
    return 0
