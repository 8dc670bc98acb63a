from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from app.pipeline.bundle.load import Expected, Golden, read_golden
from app.pipeline.crops import to_network
from app.pipeline.networks.architecture import ClusterNet, CriticQ, Generator
from app.pipeline.networks.encode import Encoded, encode
from app.pipeline.networks.onnx import OnnxBackend
from training.bundle import fast_network
from training.bundle.fast_network import NoFastNetwork, agreement, failures, held_out, make_fast
from training.bundle.onnx_export import fold_pooling, write_onnx
from training.bundle.outliers import fit_outliers
from training.bundle.quantise import Head, quantise
from training.cells.tile_files import png_bytes

K = 5


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, cells):
    """q.onnx of a network by chance, its golden pair, and the threshold of its outliers."""
    torch.manual_seed(0)
    critic = CriticQ(8, K).eval()
    outliers = fit_outliers(critic, cells.crops, cells.tile_index)
    directory = tmp_path_factory.mktemp("models") / "tiny"
    (directory / "golden").mkdir(parents=True)
    write_onnx(Generator(4, K, 8), torch.zeros(2, K + 8), directory / "generator.onnx", "latent", ["cells"])
    q = fold_pooling(ClusterNet(critic, outliers.surprise))
    write_onnx(q, torch.zeros(2, 3, 32, 32), directory / "q.onnx", "crops", ["cluster_probs", "surprise"])
    given = encode(cells.crops[:6], OnnxBackend(directory), K)
    golden = Golden(
        latent=[[0.0]], cluster_probs=given.cluster_probs.tolist(), surprise=given.surprise.tolist(), tolerance=1e-3
    )
    (directory / "golden/expected.json").write_text(golden.model_dump_json(), encoding="utf-8")
    (directory / "golden/cells.png").write_bytes(png_bytes(cells.crops[:6].reshape(-1, 32, 3)))
    return directory, outliers.limits.threshold


def probabilities(clusters):
    return np.eye(3, dtype=np.float32)[clusters]


def outputs(clusters, surprise):
    return Encoded(probabilities(clusters), np.asarray(surprise, np.float32), "full")


def test_agreement_counts_cells_outliers_and_proportions():
    full = outputs([0, 0, 1, 1, 2, 2, 2, 2], [0, 0, 0, 0, 0, 0, 0, 9])
    fast = outputs([0, 1, 1, 1, 2, 2, 2, 2], [0, 0, 0, 0, 0, 0, 9, 9])
    found = agreement(full, fast, np.array([7, 7, 7, 7, 8, 8, 8, 8]), 5.0)
    assert (found.tiles, found.cells) == (2, 8)
    assert found.clusters == 7 / 8
    assert found.outliers == 7 / 8
    # Of 7 and 6 that count: 2/7, 2/7, 3/7 become 1/6, 3/6, 2/6.
    assert found.proportion_change == pytest.approx(3 / 6 - 2 / 7)
    # On the first tile 2/4, 2/4, 0 become 1/4, 3/4, 0; on the second nothing changes.
    assert found.worst_tile_proportion_change == pytest.approx(1 / 4)


def test_tile_without_a_cell_that_counts_has_no_proportions():
    outliers = outputs([0, 1], [9, 9])
    assert agreement(outliers, outliers, np.array([0, 0]), 5.0).worst_tile_proportion_change == 0


def test_features_are_judged_by_the_variance_that_they_explain():
    """The fast features are off by 1 where the full ones are ±2 and ±1: 1 − 2 · 1 / (2 · 4 + 2 · 1) = .8."""
    same = outputs([0, 1], [0, 0])
    full = replace(same, features=np.array([[2, 1], [-2, -1]], np.float32))
    fast = replace(same, features=np.array([[3, 1], [-2, -2]], np.float32))
    assert agreement(same, same, np.array([0, 1]), 5.0).features is None
    found = agreement(full, fast, np.array([0, 1]), 5.0)
    assert found.features == pytest.approx(0.8)
    (failure,) = failures(found)
    assert "features: 0.8000" in failure


@pytest.mark.parametrize(
    ("field", "within", "beyond"),
    [("clusters", 0.99, 0.989), ("outliers", 0.995, 0.994), ("proportion_change", 0.0049, 0.005)],
)
def test_gate_names_what_does_not_pass(field, within, beyond):
    same = agreement(outputs([0, 1], [0, 0]), outputs([0, 1], [0, 0]), np.array([0, 1]), 5.0)
    assert failures(same) == []
    assert failures(same.model_copy(update={field: within})) == []
    (failure,) = failures(same.model_copy(update={field: beyond}))
    assert f"{beyond:.4f}" in failure


def test_whole_tiles_are_held_out_and_some_are_left():
    tiles = np.repeat([2, 3, 5, 8, 9], 4)
    judged = held_out(tiles)
    assert set(tiles[judged]) == {3, 9}
    assert held_out(np.array([4, 4, 6])).tolist() == [False, False, True]
    assert not held_out(np.zeros(5, np.int64)).any()


@pytest.mark.slow
def test_heads_are_found_and_learn_what_has_moved(bundle, cells):
    model = onnx.load(bundle[0] / "q.onnx")
    session = onnxruntime.InferenceSession(bundle[0] / "q.onnx", providers=["CPUExecutionProvider"])
    crops = to_network(cells.crops)
    probs = session.run(None, {"crops": crops})[0]
    head = Head.code_logits(model)
    logits = head.apply(head.inputs(crops))
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(odds / odds.sum(axis=1, keepdims=True), probs, atol=1e-5)

    random = np.random.default_rng(0)
    for learned in (Head.code_logits(model), Head.surprise(model)):
        inputs = random.normal(3, 1, (400, len(learned.inputs(crops)[0])))
        outputs = learned.apply(inputs)
        moved = 1.25 * inputs + random.normal(size=inputs.shape[1])
        assert np.abs(learned.apply(moved) - outputs).max() > outputs.std() / 4
        learned.fit(moved, outputs)
        assert np.abs(learned.apply(moved) - outputs).max() < outputs.std() / 500


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 120, 300])
def test_only_convolutions_and_their_activations_are_quantised(bundle, cells, tmp_path, n):
    quantise(bundle[0] / "q.onnx", tmp_path / "q_fast.onnx", np.resize(to_network(cells.crops), (n, 3, 32, 32)))
    model = onnx.load(tmp_path / "q_fast.onnx")
    onnx.checker.check_model(model)
    made_of = {output: node.op_type for node in model.graph.node for output in node.output}
    used = {node.op_type for node in model.graph.node if any(made_of.get(i) == "DequantizeLinear" for i in node.input)}
    assert {"Conv", "Relu"} <= used
    assert not used & {"Gemm", "MatMul", "Softmax"}
    weights = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
    assert all(made_of.get(name) == "DequantizeLinear" for name in weights)
    assert [output.name for output in model.graph.output] == ["cluster_probs", "surprise"]


@pytest.mark.slow
def test_fast_network_that_agrees_is_written_with_its_golden_pair(bundle, cells, monkeypatch):
    directory, threshold = bundle
    monkeypatch.setattr(fast_network, "failures", lambda _: [])
    before = read_golden(directory)[0]
    made = make_fast(directory, cells.crops, cells.tile_index, threshold)
    assert (made.agreement.tiles, made.agreement.cells, made.fitted_cells) == (1, 40, 80)
    golden, golden_cells = read_golden(directory)
    assert golden.model_copy(update={"fast": None}) == before
    assert isinstance(golden.fast, Expected)
    backend = OnnxBackend(directory, threads=1, has_fast=True)
    assert golden.fast.difference(encode(golden_cells, backend, K, "fast"), 4, 1.0) < made.tolerance
    (directory / "q_fast.onnx").unlink()


@pytest.mark.slow
def test_fast_network_that_does_not_agree_is_not_written(bundle, cells, monkeypatch):
    monkeypatch.setattr(fast_network, "MIN_AGREEMENT", 1.01)
    with pytest.raises(NoFastNetwork, match="same cluster"):
        make_fast(bundle[0], cells.crops, cells.tile_index, bundle[1])
    assert not (bundle[0] / "q_fast.onnx").exists()


@pytest.mark.slow
def test_cells_of_one_tile_leave_none_to_judge_by(bundle, cells):
    with pytest.raises(NoFastNetwork, match="one tile"):
        make_fast(bundle[0], cells.crops[:40], cells.tile_index[:40], bundle[1])
