import hashlib
import io
import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np
import onnx
import pytest
from PIL import Image

from app.answer.present import Result, bundle_out
from app.pipeline.bundle.load import golden_picture, load_bundle, read_golden
from app.pipeline.crops import from_network
from app.pipeline.errors import InvalidBundle
from app.pipeline.manifest import FILES
from app.pipeline.networks.encode import encode
from app.pipeline.run import analyse
from tests.cell_classifiers import taught_values

REPLACEABLE = ("q.onnx", "generator.onnx")
NETWORKS = ("q.onnx", "q_fast.onnx", "generator.onnx", "weights.safetensors")
SUBSETS = [names for n in range(len(NETWORKS) + 1) for names in combinations(NETWORKS, n)]


@pytest.fixture
def directory(shipped_bundle, tmp_path):
    """A copy of the shipped bundle, to be damaged at will."""
    return shutil.copytree(shipped_bundle, tmp_path / "marrow")


def change_manifest(directory, change):
    path = directory / "manifest.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


def replace(directory, name, content):
    """Change a file and its checksum, as a bundle that was made wrong would have it."""
    (directory / name).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    change_manifest(directory, lambda values: values["files"].update({name: digest}))


def change_golden(directory, change):
    values = json.loads((directory / "golden/expected.json").read_text(encoding="utf-8"))
    change(values)
    replace(directory, "golden/expected.json", json.dumps(values).encode())


@pytest.fixture(scope="module")
def loaded(shipped_bundle):
    return load_bundle(shipped_bundle)


@pytest.fixture(scope="module")
def crops(loaded):
    """Cells of every cluster, more than one batch."""
    k, z = loaded.manifest.n_clusters, loaded.manifest.latent_size
    code = np.eye(k, dtype=np.float32)[np.arange(300) % k]
    noise = np.random.default_rng(0).standard_normal((300, z), dtype=np.float32)
    return from_network(loaded.backend.generate(np.concatenate([code, noise], axis=1)))


def test_shipped_bundle_loads_and_names_its_backend(loaded, shipped_bundle):
    assert loaded.backend.name == "onnxruntime"
    assert loaded.backend.device in {"cpu", "cuda"}
    assert loaded.manifest.name == shipped_bundle.name
    assert loaded.sha256 == hashlib.sha256((shipped_bundle / "manifest.json").read_bytes()).hexdigest()


def test_shipped_bundle_holds_what_its_manifest_names_and_nothing_else(shipped_bundle):
    found = {path.relative_to(shipped_bundle).as_posix() for path in shipped_bundle.rglob("*") if path.is_file()}
    assert found == {*FILES, "q_fast.onnx", "segmenter.onnx", "segmenter.safetensors", "manifest.json"}


def test_probabilities_of_every_cell_sum_to_one(loaded, crops):
    probs = encode(crops, loaded.backend, loaded.manifest.n_clusters).cluster_probs
    assert probs.shape == (300, loaded.manifest.n_clusters)
    assert probs.dtype == np.float32
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)


def test_sample_tile_has_cells(loaded, shipped_bundle):
    analysis = analyse((shipped_bundle / "sample.png").read_bytes(), loaded, max_pixels=25_000_000)
    assert len(analysis.cells.areas_px) >= loaded.manifest.image_level.min_cells
    assert analysis.label.value in {"normal", "abnormal"}


def test_one_session_serves_several_threads(loaded, crops):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: encode(crops, loaded.backend, loaded.manifest.n_clusters), range(8)))
    for encoded in found[1:]:
        np.testing.assert_allclose(encoded.cluster_probs, found[0].cluster_probs, atol=1e-6)
        np.testing.assert_allclose(encoded.surprise, found[0].surprise, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", [*FILES, "q_fast.onnx"])
def test_altered_file_is_refused(directory, name):
    content = bytearray((directory / name).read_bytes())
    content[len(content) // 2] ^= 1
    (directory / name).write_bytes(content)
    with pytest.raises(InvalidBundle, match=f"{name} has been altered"):
        load_bundle(directory)


@pytest.mark.parametrize("name", ["manifest.json", *(name for name in FILES if name not in REPLACEABLE)])
def test_missing_file_is_refused(directory, name):
    (directory / name).unlink()
    with pytest.raises(InvalidBundle, match=name):
        load_bundle(directory)


@pytest.mark.parametrize("has_torch", [True, False], ids=["torch", "no torch"])
@pytest.mark.parametrize("gone", SUBSETS, ids=lambda names: " ".join(names) or "nothing")
def test_files_that_are_missing_are_replaced_or_named(directory, monkeypatch, caplog, gone, has_torch):
    """Every combination: the answer names what computed it, and a bundle that nothing computes says why."""
    for name in gone:
        (directory / name).unlink()
    if not has_torch:
        monkeypatch.setitem(sys.modules, "app.pipeline.networks.pytorch", None)
    needs_torch = bool({"q.onnx", "generator.onnx"} & set(gone))
    if "weights.safetensors" in gone:
        with pytest.raises(InvalidBundle, match=r"weights\.safetensors cannot be read"):
            load_bundle(directory)
        return
    if needs_torch and not has_torch:
        with pytest.raises(InvalidBundle, match="PyTorch") as refused:
            load_bundle(directory)
        assert [name for name in REPLACEABLE if name in str(refused.value)] == [x for x in REPLACEABLE if x in gone]
        return
    bundle = load_bundle(directory, threads=1)
    wanted = ("pytorch" if needs_torch else "onnxruntime", "full" if gone else "fast")
    analysis = analyse((directory / "sample.png").read_bytes(), bundle, max_pixels=10**6, precision="fast")
    used = Result(analysis, bundle, "0").bundle_used
    assert (used.backend, used.precision) == wanted
    card = bundle_out(bundle, default=True)
    assert (card.backend, card.precisions[-1]) == wanted
    assert [name for name in NETWORKS if any(name in warning for warning in card.warnings)] == list(gone)
    assert [name for name in NETWORKS if name in caplog.text] == list(gone)


def without_fast(values):
    del values["fast"]
    del values["files"]["q_fast.onnx"]


def test_bundle_of_before_without_a_fast_network_answers_in_full(directory, shipped_bundle, loaded, crops):
    change_manifest(directory, without_fast)
    old = load_bundle(directory, threads=1)
    assert old.manifest.fast is None
    assert old.backend.precisions == ("full",)
    k = old.manifest.n_clusters
    asked = encode(crops, old.backend, k, "fast")
    assert asked.precision == "full"
    np.testing.assert_allclose(asked.surprise, encode(crops, loaded.backend, k).surprise, rtol=1e-4, atol=1e-3)
    assert analyse((shipped_bundle / "sample.png").read_bytes(), old, max_pixels=10**6).precision == "full"


def test_fast_network_is_another_one_and_agrees(loaded, crops):
    k = loaded.manifest.n_clusters
    fast, full = (encode(crops, loaded.backend, k, precision) for precision in ("fast", "full"))
    assert (fast.precision, full.precision) == ("fast", "full")
    assert np.abs(fast.cluster_probs - full.cluster_probs).max() > 0
    assert (fast.cluster_probs.argmax(axis=1) == full.cluster_probs.argmax(axis=1)).mean() > 0.99


def check_answers_in_full(bundle, crops, caplog):
    assert "the fast Q does not reproduce its golden pair" in caplog.text
    assert bundle.backend.precisions == ("full",)
    assert encode(crops, bundle.backend, bundle.manifest.n_clusters, "fast").precision == "full"


def test_fast_network_with_another_weight_is_not_asked_though_its_checksum_holds(directory, crops, caplog):
    model = onnx.load(directory / "q_fast.onnx")
    integers = [tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.INT8]
    weight = next(tensor for tensor in integers if len(tensor.dims) == 4)
    values = onnx.numpy_helper.to_array(weight)
    weight.CopyFrom(onnx.numpy_helper.from_array(-values, weight.name))
    replace(directory, "q_fast.onnx", model.SerializeToString())
    check_answers_in_full(load_bundle(directory), crops, caplog)


def test_fast_network_without_its_golden_pair_is_not_asked(directory, crops, caplog):
    change_golden(directory, lambda values: values.update(fast=None))
    check_answers_in_full(load_bundle(directory), crops, caplog)


def check_fallback(directory, loaded, crops):
    fallback = load_bundle(directory)
    assert fallback.backend.name == "pytorch"
    k = loaded.manifest.n_clusters
    ours, reference = (encode(crops, bundle.backend, k) for bundle in (fallback, loaded))
    np.testing.assert_allclose(ours.cluster_probs, reference.cluster_probs, atol=1e-3)
    np.testing.assert_array_equal(ours.cluster_probs.argmax(axis=1), reference.cluster_probs.argmax(axis=1))
    np.testing.assert_allclose(ours.surprise, reference.surprise, rtol=1e-3, atol=1e-2)
    latent = np.eye(k, k + loaded.manifest.latent_size, dtype=np.float32)
    np.testing.assert_allclose(fallback.backend.generate(latent), loaded.backend.generate(latent), atol=1e-3)


@pytest.mark.parametrize("name", REPLACEABLE)
def test_pytorch_gives_the_same_clusters_where_an_onnx_file_is_missing(directory, loaded, crops, name):
    (directory / name).unlink()
    check_fallback(directory, loaded, crops)


def test_pytorch_gives_the_same_clusters_where_onnx_runtime_is_missing(directory, loaded, crops, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    check_fallback(directory, loaded, crops)


def test_bundle_without_any_backend_says_what_is_missing(directory, monkeypatch):
    (directory / "q.onnx").unlink()
    monkeypatch.setitem(sys.modules, "app.pipeline.networks.pytorch", None)
    with pytest.raises(InvalidBundle, match=r"q\.onnx.*PyTorch"):
        load_bundle(directory)


def test_weights_of_another_architecture_are_refused(directory):
    (directory / "q.onnx").unlink()
    change_manifest(directory, lambda values: values["architecture"].update(channels=3))
    with pytest.raises(InvalidBundle, match="architecture"):
        load_bundle(directory)


@pytest.mark.parametrize("name", REPLACEABLE)
def test_file_that_is_not_onnx_is_refused_though_its_checksum_holds(directory, name):
    replace(directory, name, b"no network")
    with pytest.raises(InvalidBundle, match="ONNX"):
        load_bundle(directory)


def test_cell_classifier_by_a_measurement_that_nobody_makes_is_refused(directory):
    def teach(values):
        values["architecture"]["encoder_width"] = 1
        values["cell_classifier"] = taught_values(measurements=["area", "smell"])

    change_manifest(directory, teach)
    with pytest.raises(InvalidBundle, match="the cell classifier uses an unknown measurement, 'smell'"):
        load_bundle(directory)


def test_networks_in_each_others_place_are_refused(directory):
    q, generator = ((directory / name).read_bytes() for name in REPLACEABLE)
    replace(directory, "q.onnx", generator)
    replace(directory, "generator.onnx", q)
    with pytest.raises(InvalidBundle):
        load_bundle(directory)


def test_other_probabilities_than_the_golden_ones_are_refused(directory):
    def change(values):
        values["cluster_probs"][0].reverse()

    change_golden(directory, change)
    with pytest.raises(InvalidBundle, match="Q does not reproduce"):
        load_bundle(directory)


def test_other_cells_than_the_golden_ones_are_refused(directory):
    _, cells = read_golden(directory)
    swapped = cells.copy()
    # Q sees the same crops with the same answers, in another order than G's latent rows.
    swapped[[0, -1]] = swapped[[-1, 0]]
    buffer = io.BytesIO()
    Image.fromarray(golden_picture(swapped)).save(buffer, "PNG")
    replace(directory, "golden/cells.png", buffer.getvalue())

    def change(values):
        for outputs in (values["cluster_probs"], values["surprise"], values["features"]):
            outputs[0], outputs[-1] = outputs[-1], outputs[0]

    change_golden(directory, change)
    with pytest.raises(InvalidBundle, match="G does not reproduce"):
        load_bundle(directory)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda values: values.pop("latent"), id="no latent"),
        pytest.param(lambda values: values.update(tolerance=0), id="no tolerance"),
        pytest.param(lambda values: values["cluster_probs"].pop(), id="a row short"),
        pytest.param(lambda values: values["latent"][0].pop(), id="ragged latent"),
        pytest.param(lambda values: [row.pop() for row in values["latent"]], id="latent of another size"),
        pytest.param(lambda values: values.update(latent=[], cluster_probs=[]), id="empty"),
        pytest.param(lambda values: values["cluster_probs"][0].append(0.0), id="ragged probabilities"),
    ],
)
def test_malformed_golden_pair_is_refused(directory, change):
    change_golden(directory, change)
    with pytest.raises(InvalidBundle):
        load_bundle(directory)


@pytest.mark.parametrize("name", ["golden/expected.json", "golden/cells.png"])
def test_unreadable_golden_pair_is_refused(directory, name):
    replace(directory, name, b"neither JSON nor PNG")
    with pytest.raises(InvalidBundle, match="golden"):
        load_bundle(directory)


@pytest.mark.parametrize("place", ["nowhere", "file"])
def test_place_that_is_no_bundle_is_refused(tmp_path, place):
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(InvalidBundle, match="cannot be read") as error:
        load_bundle(tmp_path / place)
    assert str(tmp_path) not in str(error.value)


def test_file_replaced_by_a_folder_is_refused(directory):
    (directory / "q.onnx").unlink()
    (directory / "q.onnx").mkdir()
    with pytest.raises(InvalidBundle, match=r"q\.onnx"):
        load_bundle(directory)


def test_golden_picture_holds_every_value_of_crops_with_surroundings(directory):
    crops = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 7), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(golden_picture(crops)).save(buffer, "PNG")
    replace(directory, "golden/cells.png", buffer.getvalue())
    np.testing.assert_array_equal(read_golden(directory)[1], crops)
