"""The floor: the least time that a tile could take on this machine.

It is computed from three things: what the machine can do, measured by `python -m bench.floor TILE` in a process of its
own; the multiply-adds of the networks, counted in their ONNX graphs; and the number of the tile's pixels and cells.
"""

from __future__ import annotations

import io
import json
import math
import statistics
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from app.cpus import usable_cpus
from app.pipeline.bundle.load import read_manifest
from app.pipeline.manifest import Q_ONNX, SEGMENTER_ONNX
from app.pipeline.presets import NetworkParams
from bench import BUNDLE
from bench.process import run_child
from bench.tiles import read_pixels

if TYPE_CHECKING:
    import onnx

STAGES = ("stain", "segmentation", "quality", "crops")
"""Each of these has to read the tile's pixels and to write as many, however many passes the service makes."""
BYTES_PER_PIXEL = 3
COPIED_BYTES = 256 * 1024**2
"""More than any cache holds, so that memory itself is measured."""
GEMM_SIDE = 2048
SEGMENTER_SIDE = 64
"""Rows and columns, of pixels or of blocks, of the picture on which the segmenter's multiply-adds are counted."""
RUNS = 7
COUNTED = frozenset({"Conv", "QLinearConv", "MatMul", "Gemm"})
NOT_COUNTED = frozenset({"ConvTranspose", "Einsum", "LSTM", "GRU", "RNN", "MatMulInteger", "ConvInteger", "FusedConv"})
"""Other operators of ONNX that multiply and add, which `multiply_adds` does not know how to count."""

Rates = dict[str, float]
Shapes = dict[str, list[int]]


@dataclass(frozen=True)
class Floor:
    """Seconds for what no implementation of the stages can leave out.

    Attributes:
        decode_s: time to decode the file, with the decoder that the service uses.
        pixels_s: time to read and to write the pixels once per stage, at the bandwidth of memory.
        segmenter_s: time for the multiply-adds of the network that finds nuclei, at the rate of a large matrix product;
            0 where the bundle has none.
        q_s: time for Q's multiply-adds for all cells, at the same rate.
    """

    decode_s: float
    pixels_s: float
    segmenter_s: float
    q_s: float

    @property
    def total_s(self) -> float:
        """Seconds for all of them, one after the other."""
        return self.decode_s + self.pixels_s + self.segmenter_s + self.q_s


def floor(
    *, n_pixels: int, n_cells: int, multiply_adds_per_cell: int, segmenter_multiply_adds: int, rates: Rates
) -> Floor:
    """Compute the floor of one tile.

    Args:
        n_pixels: height × width of the tile.
        n_cells: number of cells that go through Q.
        multiply_adds_per_cell: multiply-adds of Q for one cell.
        segmenter_multiply_adds: multiply-adds of the network that finds nuclei, for the whole tile.
        rates: what `machine_rates` measured.
    """
    return Floor(
        decode_s=rates["decode_s"],
        pixels_s=pixel_bytes(n_pixels) / rates["memory_bytes_per_s"],
        segmenter_s=segmenter_multiply_adds / rates["gemm_multiply_adds_per_s"],
        q_s=n_cells * multiply_adds_per_cell / rates["gemm_multiply_adds_per_s"],
    )


def pixel_bytes(n_pixels: int) -> int:
    """Return the number of bytes that all stages together read and write."""
    return len(STAGES) * 2 * BYTES_PER_PIXEL * n_pixels


def compare_with_floor(tile: Path, measured: dict[str, Any], rates: Rates) -> dict[str, Any]:
    """Compute the floor of a tile and how many times as long the service's analysis takes.

    Args:
        tile: image file.
        measured: the analysis's `cells` and `median_s`, as `bench.analysis` measured them.
        rates: what `machine_rates` measured.

    Returns:
        The fields of `Floor`, their total, the ratio, and the numbers that the floor was computed from.
    """
    height, width = read_pixels(tile).shape[:2]
    n_pixels, per_cell = height * width, multiply_adds(BUNDLE / Q_ONNX)
    of_segmenter = segmenter_multiply_adds(BUNDLE, height, width)
    least = floor(
        n_pixels=n_pixels,
        n_cells=measured["cells"],
        multiply_adds_per_cell=per_cell,
        segmenter_multiply_adds=of_segmenter,
        rates=rates,
    )
    return {
        **asdict(least),
        "total_s": least.total_s,
        "ratio": measured["median_s"] / least.total_s,
        "cells": measured["cells"],
        "multiply_adds_per_cell": per_cell,
        "segmenter_multiply_adds": of_segmenter,
        "pixel_bytes": pixel_bytes(n_pixels),
        "memory_bytes_per_s": rates["memory_bytes_per_s"],
        "gemm_multiply_adds_per_s": rates["gemm_multiply_adds_per_s"],
    }


def segmenter_multiply_adds(bundle: Path, height: int, width: int) -> int:
    """Return the multiply-adds of the network that finds nuclei, for a tile of height × width px without surroundings.

    Args:
        bundle: directory of the bundle.
        height: of the tile.
        width: of the tile.

    Returns:
        0 where the bundle's preset is not `learned`.
    """
    params = read_manifest(bundle)[0].segmentation
    if not isinstance(params, NetworkParams):
        return 0
    seen = math.ceil(height / params.reduction) * math.ceil(width / params.reduction)
    counted = multiply_adds(bundle / SEGMENTER_ONNX, SEGMENTER_SIDE)
    return counted * seen // pixels_shown(bundle / SEGMENTER_ONNX, SEGMENTER_SIDE)


def machine_rates(tile: Path) -> Rates:
    """Measure in a process of its own how fast the machine copies memory, multiplies matrices and decodes the tile."""
    return run_child("bench.floor", str(tile))


def best_rates(rates: list[Rates]) -> Rates:
    """Return the highest of each rate and the shortest decoding: a busy moment must not raise the floor."""
    fastest = {name: max(found[name] for found in rates) for name in rates[0]}
    return {**fastest, "decode_s": min(found["decode_s"] for found in rates)}


def memory_bandwidth() -> float:
    """Return the bytes per second, read and written ones together, of copies on all cores; the best of the runs."""
    source, target = np.ones(COPIED_BYTES, np.uint8), np.zeros(COPIED_BYTES, np.uint8)
    parts = list(zip(np.array_split(target, usable_cpus()), np.array_split(source, usable_cpus()), strict=True))
    with ThreadPoolExecutor(usable_cpus()) as threads:
        fastest = min(_seconds(lambda: list(threads.map(lambda part: np.copyto(*part), parts))))
    return 2 * COPIED_BYTES / fastest


def gemm_rate() -> float:
    """Return the multiply-adds per second of a square float32 matrix product on all cores; the best of the runs."""
    left, right = np.random.default_rng(0).standard_normal((2, GEMM_SIDE, GEMM_SIDE), np.float32)
    out = np.empty_like(left)
    return GEMM_SIDE**3 / min(_seconds(lambda: np.matmul(left, right, out=out)))


def decode_seconds(data: bytes) -> float:
    """Return the median seconds in which Pillow, the service's decoder, turns a file into an RGB array, unchecked."""
    return statistics.median(_seconds(lambda: np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))))


def _seconds(operation: Callable[[], object]) -> list[float]:
    """Time an operation several times after a warm-up."""
    operation()
    seconds = []
    for _ in range(RUNS):
        start = perf_counter()
        operation()
        seconds.append(perf_counter() - start)
    return seconds


def pixels_shown(path: Path, side: int) -> int:
    """Return how many RGB pixels a network of one input is shown where the free dimensions of that are so large."""
    import onnx

    return math.prod(_zeros(onnx.load(path), side).shape) // 3


def multiply_adds(path: Path, side: int = 1) -> int:
    """Count the multiply-adds of a network for one item: those of its convolutions and its matrix products.

    What the network does element by element is not counted.

    Args:
        path: an ONNX file of one input, whose first dimension is the batch.
        side: the other free dimensions of its input are so large.

    Raises:
        ValueError: the graph has an operator of `NOT_COUNTED`.
    """
    # Imported here: the process that measures the machine's rates does not need it.
    import onnx

    model = onnx.load(path)
    shapes = _shapes(model, side)
    return sum(_of_node(node, shapes) for node in model.graph.node)


def _shapes(model: onnx.ModelProto, side: int) -> Shapes:
    """Return the shape of each value that an operator of COUNTED reads or makes, by computing the network for one item.

    ONNX's own inference of shapes gives up where a shape is computed, as that of a picture that is cut into blocks is.
    """
    import onnxruntime
    from onnx import ValueInfoProto

    tensors = {tensor.name: np.empty(tensor.dims, bool) for tensor in model.graph.initializer}
    fed = {model.graph.input[0].name: _zeros(model, side)}
    nodes = [node for node in model.graph.node if node.op_type in COUNTED]
    asked = sorted({name for node in nodes for name in (*_factors(node), node.output[0])} - {*tensors, *fed})
    del model.graph.output[:]
    model.graph.output.extend(ValueInfoProto(name=name) for name in asked)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    made = dict(zip(asked, session.run(asked, fed), strict=True)) if asked else {}
    return {name: list(value.shape) for name, value in {**tensors, **fed, **made}.items()}


def _zeros(model: onnx.ModelProto, side: int) -> np.ndarray:
    """Return one item of a network's input, all 0, whose free dimensions are so large."""
    from onnx import helper

    seen = model.graph.input[0].type.tensor_type
    shape = [size.dim_value or (side if axis else 1) for axis, size in enumerate(seen.shape.dim)]
    return np.zeros(shape, helper.tensor_dtype_to_np_dtype(seen.elem_type))


def _factors(node: onnx.NodeProto) -> tuple[str, str]:
    """Return the names of what an operator of COUNTED multiplies with each other."""
    return (node.input[0], node.input[3]) if node.op_type == "QLinearConv" else (node.input[0], node.input[1])


def _of_node(node: onnx.NodeProto, shapes: Shapes) -> int:
    if node.op_type in NOT_COUNTED:
        raise ValueError(f"The multiply-adds of {node.op_type} are not counted here.")
    if node.op_type in ("Conv", "QLinearConv"):
        # A weight is (out, in / groups, height, width): an output takes in / groups x height x width of them.
        return math.prod(shapes[node.output[0]]) * math.prod(shapes[_factors(node)[1]][1:])
    if node.op_type == "MatMul":
        return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    if node.op_type == "Gemm":
        is_transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][0 if is_transposed else 1]
    return 0


def main(tile: Path) -> None:
    """Print the machine's rates as one JSON object."""
    rates = {
        "memory_bytes_per_s": memory_bandwidth(),
        "gemm_multiply_adds_per_s": gemm_rate(),
        "decode_s": decode_seconds(tile.read_bytes()),
    }
    print(json.dumps(rates))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
