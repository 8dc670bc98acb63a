import math

import onnx
import pytest
from onnx import TensorProto, helper

from bench.multiply_adds import multiply_adds


def write(path, nodes, weights, shape, out_rank):
    """An ONNX file of one input, `x` with a free batch, and one output, `y`."""
    graph = helper.make_graph(
        nodes,
        "drawn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch"] + [None] * (out_rank - 1))],
        [helper.make_tensor(name, TensorProto.FLOAT, dims, [0.0] * math.prod(dims)) for name, dims in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    return path


def test_convolution_counts_its_window_at_every_output(tmp_path):
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1], strides=[2, 2])
    path = write(tmp_path / "q.onnx", [node], {"w": [8, 3, 3, 3]}, [3, 32, 32], 4)
    # 8 channels of 16 x 16, each the sum of 3 x 3 x 3 products.
    assert multiply_adds(path) == 8 * 16 * 16 * 27


def test_grouped_convolution_sees_its_own_channels_only(tmp_path):
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=4)
    path = write(tmp_path / "q.onnx", [node], {"w": [4, 1, 3, 3]}, [4, 5, 5], 4)
    assert multiply_adds(path) == 4 * 3 * 3 * 9


def test_products_add_up_and_elementwise_work_does_not_count(tmp_path):
    nodes = [
        helper.make_node("Gemm", ["x", "a", "b"], ["hidden"], transB=1),
        helper.make_node("Relu", ["hidden"], ["positive"]),
        helper.make_node("MatMul", ["positive", "c"], ["y"]),
    ]
    path = write(tmp_path / "q.onnx", nodes, {"a": [6, 10], "b": [6], "c": [6, 2]}, [10], 2)
    assert multiply_adds(path) == 10 * 6 + 6 * 2


def test_product_that_cannot_be_counted_is_refused(tmp_path):
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"])
    path = write(tmp_path / "q.onnx", [node], {"w": [3, 2, 2, 2]}, [3, 4, 4], 4)
    with pytest.raises(ValueError, match="ConvTranspose"):
        multiply_adds(path)
