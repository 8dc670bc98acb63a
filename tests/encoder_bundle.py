"""A bundle whose Q gives features of cells, made by hand: each is the mean brightness of an eighth of the crop."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from app.pipeline.bundle.load import read_golden
from app.pipeline.manifest import GOLDEN_EXPECTED, Q_FAST_ONNX, Q_ONNX
from app.pipeline.networks.encode import encode
from app.pipeline.networks.onnx import OnnxBackend

N_FEATURES = 8


def make_encoder_bundle(shipped: Path, target: Path, *, has_features: bool = True) -> Path:
    """Copy the shipped bundle with another Q, without a fast one; the Q has features, or has no encoder."""
    shutil.copytree(shipped, target, ignore=shutil.ignore_patterns(Q_FAST_ONNX))
    manifest = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
    manifest |= {"name": target.name, "version": "1", "fast": None}
    manifest["architecture"]["encoder_width"] = N_FEATURES // 8 if has_features else None
    manifest["files"].pop(Q_FAST_ONNX, None)
    n_clusters, n_channels = manifest["n_clusters"], {"nucleus": 3, "surroundings": 7}
    crops = manifest["architecture"].get("crops", "nucleus")
    onnx.save(_network(n_channels[crops], n_clusters, has_features), target / Q_ONNX)
    golden, cells = read_golden(target)
    encoded = encode(cells, OnnxBackend(target, threads=1), n_clusters)
    expected = json.loads(golden.model_dump_json()) | {
        "cluster_probs": encoded.cluster_probs.tolist(),
        "surprise": encoded.surprise.tolist(),
        "features": encoded.features.tolist() if has_features else None,
        "fast": None,
    }
    (target / GOLDEN_EXPECTED).write_text(json.dumps(expected), encoding="utf-8")
    for name in (Q_ONNX, GOLDEN_EXPECTED):
        manifest["files"][name] = hashlib.sha256((target / name).read_bytes()).hexdigest()
    (target / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return target


def _network(n_channels, n_clusters, has_features):
    """Crops → cluster probabilities, no surprise, and features."""
    crops = helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["N", n_channels, 32, 32])
    outputs = [
        helper.make_tensor_value_info("cluster_probs", TensorProto.FLOAT, ["N", n_clusters]),
        helper.make_tensor_value_info("surprise", TensorProto.FLOAT, ["N"]),
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", N_FEATURES]),
    ]
    constants = {
        "first": np.array([0]),
        "after": np.array([3]),
        "channels": np.array([1]),
        "flat": np.array([-1, N_FEATURES]),
        "of_clusters": np.random.default_rng(0).normal(0, 4, (N_FEATURES, n_clusters)).astype(np.float32),
        "nothing": np.zeros((N_FEATURES, 1), np.float32),
        "column": np.array([-1]),
    }
    nodes = [
        helper.make_node("Slice", ["crops", "first", "after", "channels"], ["nucleus"]),
        helper.make_node("ReduceMean", ["nucleus", "channels"], ["grey"], keepdims=1),
        helper.make_node("AveragePool", ["grey"], ["pooled"], kernel_shape=[16, 8], strides=[16, 8]),
        helper.make_node("Reshape", ["pooled", "flat"], ["features"]),
        helper.make_node("MatMul", ["features", "of_clusters"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["cluster_probs"], axis=1),
        helper.make_node("MatMul", ["features", "nothing"], ["zeros"]),
        helper.make_node("Reshape", ["zeros", "column"], ["surprise"]),
    ]
    values = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "q", [crops], outputs if has_features else outputs[:2], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
