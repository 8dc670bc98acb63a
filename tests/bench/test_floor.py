import math
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image

from app.pipeline.networks.architecture import Segmenter
from app.pipeline.presets import DEFAULT, LEARNED
from bench import floor as floor_module
from bench.floor import (
    best_rates,
    compare_with_floor,
    floor,
    multiply_adds,
    pixel_bytes,
    segmenter_multiply_adds,
)
from training.bundle.onnx_export import write_segmenter
from training.bundle.quantise import quantise_segmenter


def test_each_stage_reads_and_writes_three_bytes_a_pixel():
    # 4 stages, a read and a write each, 3 bytes: 24 bytes a pixel.
    assert pixel_bytes(1000) == 24_000


def test_floor_of_a_tile_by_hand():
    rates = {"decode_s": 0.03, "memory_bytes_per_s": 12e9, "gemm_multiply_adds_per_s": 50e9}
    found = floor(
        n_pixels=1_000_000, n_cells=500, multiply_adds_per_cell=2_000_000, segmenter_multiply_adds=10**9, rates=rates
    )
    assert found.decode_s == 0.03
    assert found.pixels_s == pytest.approx(0.002)  # 24 MB at 12 GB/s
    assert found.q_s == pytest.approx(0.02)  # 10^9 multiply-adds at 50 x 10^9 a second
    assert found.segmenter_s == pytest.approx(0.02)
    assert found.total_s == pytest.approx(0.072)


def test_floor_is_computed_from_the_tile_its_cells_and_the_machines_rates(tmp_path):
    tile = tmp_path / "tile.png"
    Image.fromarray(np.zeros((100, 200, 3), np.uint8)).save(tile)
    rates = {"memory_bytes_per_s": 480_000.0, "gemm_multiply_adds_per_s": 1e18, "decode_s": 0.25}
    found = compare_with_floor(tile, {"cells": 0, "median_s": 2.5}, rates)
    # 20,000 pixels of 24 bytes at 480 kB/s is a second; 1.25 s in all.
    assert found["pixels_s"] == 1
    assert found["total_s"] == pytest.approx(1.25)
    assert found["ratio"] == pytest.approx(2)
    assert found["multiply_adds_per_cell"] > 1_000_000


def test_busy_moment_does_not_raise_the_floor():
    quiet = {"memory_bytes_per_s": 10.0, "gemm_multiply_adds_per_s": 5.0, "decode_s": 1.0}
    busy = {"memory_bytes_per_s": 4.0, "gemm_multiply_adds_per_s": 6.0, "decode_s": 2.0}
    assert best_rates([busy, quiet]) == {**quiet, "gemm_multiply_adds_per_s": 6.0}


def test_segmenter_counts_on_each_pixel_that_it_sees(tmp_path, monkeypatch):
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    write(tmp_path / "segmenter.onnx", [node], {"w": [2, 3, 3, 3]}, [3, None, None], 4)
    monkeypatch.setattr(floor_module, "read_manifest", lambda _: (SimpleNamespace(segmentation=LEARNED), ""))
    # It sees 50 × 41 px, and each gets 2 sums of 3 × 3 × 3 products.
    assert segmenter_multiply_adds(tmp_path, 100, 81) == 50 * 41 * 2 * 27


def test_segmenter_in_integers_counts_as_the_exact_one_does(tmp_path, monkeypatch):
    torch.manual_seed(0)
    write_segmenter(Segmenter(4).eval(), tmp_path)
    monkeypatch.setattr(floor_module, "read_manifest", lambda _: (SimpleNamespace(segmentation=LEARNED), ""))
    exact = segmenter_multiply_adds(tmp_path, 128, 160)
    tiles = np.random.default_rng(0).uniform(-1, 1, (2, 1, 3, 64, 64)).astype(np.float32)
    quantise_segmenter(tmp_path / "segmenter.onnx", tmp_path / "segmenter.onnx", list(tiles))
    assert segmenter_multiply_adds(tmp_path, 128, 160) == exact > 0


def test_bundle_without_a_segmenter_has_none_to_count(tmp_path, monkeypatch):
    monkeypatch.setattr(floor_module, "read_manifest", lambda _: (SimpleNamespace(segmentation=DEFAULT), ""))
    assert segmenter_multiply_adds(tmp_path, 100, 81) == 0


def write(path, nodes, weights, shape, out_rank):
    """Write an ONNX file of one input, `x` with a free batch, and one output, `y`."""
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


def test_shape_that_the_network_computes_counts_too(tmp_path):
    ones = helper.make_tensor("ones", TensorProto.INT64, [4], [1, 1, 1, 1])
    nodes = [
        helper.make_node("Constant", [], ["ones"], value=ones),
        helper.make_node("Shape", ["x"], ["size"]),
        helper.make_node("Div", ["size", "ones"], ["same"]),
        helper.make_node("Reshape", ["x", "same"], ["again"]),
        helper.make_node("Conv", ["again", "w"], ["y"]),
    ]
    path = write(tmp_path / "q.onnx", nodes, {"w": [2, 3, 1, 1]}, [3, None, None], 4)
    assert multiply_adds(path, side=10) == 2 * 10 * 10 * 3


def test_product_that_cannot_be_counted_is_refused(tmp_path):
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"])
    path = write(tmp_path / "q.onnx", [node], {"w": [3, 2, 2, 2]}, [3, 4, 4], 4)
    with pytest.raises(ValueError, match="ConvTranspose"):
        multiply_adds(path)
