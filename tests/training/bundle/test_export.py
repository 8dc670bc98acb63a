import errno
import hashlib
import json
import shutil
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import training.bundle.export
from app.pipeline.bundle.load import load_bundle, read_golden
from app.pipeline.crops import to_network
from app.pipeline.errors import InvalidBundle
from app.pipeline.manifest import FILES, ClusterName, ClusterNames
from app.pipeline.networks.architecture import ClusterNet
from app.pipeline.networks.onnx import OnnxBackend
from app.pipeline.networks.pytorch import TorchBackend
from app.pipeline.run import analyse
from tests.conftest import REPOSITORY
from training.bundle.export import FinishedRun, export_bundle
from training.bundle.gates import MAX_ONNX_DIFFERENCE
from training.bundle.outliers import fit_outliers
from training.errors import ExportError
from training.gan.checks import assign_clusters, check_model
from training.gan.trainer import Trainer
from training.label.image_level import fit_image_level

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nets(without_encoder, cells):
    trainer = Trainer(replace(without_encoder, ema_decay=0.0), cells.crops, torch.device("cpu"))
    for _ in range(3):
        trainer.step()
    return trainer.nets


@pytest.fixture(scope="module", autouse=True)
def converted_once():
    """Convert each network to ONNX once, which takes seconds; further exports of the same weights get the same file."""
    convert, files = torch.onnx.export, {}

    def convert_once(net, arguments, path, **options):
        weights = b"".join(tensor.numpy().tobytes() for tensor in net.state_dict().values())
        key = (hashlib.sha256(weights).digest(), str(net), *options["output_names"])
        if key not in files:
            convert(net, arguments, path, **options)
            files[key] = Path(path).read_bytes()
        Path(path).write_bytes(files[key])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.onnx, "export", convert_once)
        yield


@pytest.fixture(scope="module")
def outliers(nets, cells):
    return fit_outliers(nets.ema_q, cells.crops, cells.tile_index)


@pytest.fixture(scope="module")
def export(tiny_paper, cells, nets, outliers):
    """Write the networks as a bundle."""
    clusters = assign_clusters(nets.ema_q, torch.from_numpy(to_network(cells.crops)))

    def write(target, bundle_version="7", *, unfit=True):
        finished = FinishedRun(
            config=tiny_paper,
            cells=cells,
            generator=nets.ema_generator,
            q=nets.ema_q,
            iterations=3,
            checks=check_model(nets.ema_generator, nets.ema_q, cells.crops, per_cluster=20),
            image_level=fit_image_level(cells, clusters, 5, tiny_paper.fit),
            outliers=outliers,
        )
        return export_bundle(target, finished, bundle_version, unfit=unfit)

    return write


@pytest.fixture(scope="module")
def exported(export, tmp_path_factory):
    target = tmp_path_factory.mktemp("models") / "tiny"
    export(target)
    return target


@pytest.fixture(scope="module")
def backend(exported):
    return OnnxBackend(exported, threads=1)


def contents(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def named(directory):
    """Files that the manifest names."""
    return json.loads((directory / "manifest.json").read_text(encoding="utf-8"))["files"]


def latents(n):
    code = np.eye(5, dtype=np.float32)[np.arange(n) % 5]
    return np.concatenate([code, np.random.default_rng(n).standard_normal((n, 8), dtype=np.float32)], axis=1)


def test_exported_bundle_loads_and_says_what_it_is(exported, cells, tiny_paper):
    manifest = load_bundle(exported, threads=1).manifest
    assert (manifest.name, manifest.version) == ("tiny", "7")
    assert manifest.n_clusters == 5
    assert manifest.training.iterations == 3
    assert manifest.training.data[0].cells == len(cells)
    assert manifest.training.data[0].tiles == 3
    assert manifest.image_level.label_basis.startswith("Simulated.")
    assert manifest.training.config["train"]["seed"] == tiny_paper.train.seed
    assert manifest.segmentation == cells.segmentation
    assert manifest.schema_version == 3
    assert [sum(tile.counts) for tile in manifest.reference_ranges.tiles] == [40, 40, 40]
    assert manifest.metrics.onnx_max_difference <= 1e-4
    np.testing.assert_allclose(manifest.quality.stain_matrix, cells.stain_matrices[0].T, atol=1e-9)


def test_exported_bundle_says_what_sets_its_clusters_apart(exported, cells, outliers):
    descriptions = load_bundle(exported, threads=1).manifest.descriptions
    assert len(descriptions.clusters) == 5
    assert sum(cluster.n_cells for cluster in descriptions.clusters) == len(cells) - outliers.outlier.sum()
    area, *others = descriptions.measurements
    # Nothing but the area was measured on these cells.
    assert (area.measurement, area.eta_squared is None) == ("area_um2", False)
    assert {known.eta_squared for known in others} == {None}


def test_exported_bundle_holds_no_pickle_and_nothing_unnamed(exported):
    assert set(contents(exported)) == {*named(exported), "manifest.json"}
    assert not any(b"\x80\x04\x95" in data[:3] or data[:2] == b"PK" for data in contents(exported).values())
    assert all((exported / name).stat().st_mode & 0o044 == 0o044 for name in FILES)


def test_checksums_are_those_of_the_files(exported):
    files = json.loads((exported / "manifest.json").read_text(encoding="utf-8"))["files"]
    assert files == {name: hashlib.sha256((exported / name).read_bytes()).hexdigest() for name in files}
    assert set(files) - set(FILES) <= {"q_fast.onnx"}


@pytest.mark.parametrize("n", [0, 1, 7, 64])
def test_onnx_gives_what_pytorch_gives_for_any_number_of_cells(backend, nets, outliers, n):
    latent = latents(n)
    with torch.inference_mode():
        cells = nets.ema_generator(torch.from_numpy(latent)).numpy()
        described = ClusterNet(nets.ema_q, outliers.surprise)(torch.from_numpy(cells))
    assert backend.generate(latent).shape == (n, 3, 32, 32)
    found = backend.describe(cells)
    assert (found.cluster_probs.shape, found.surprise.shape, found.features) == ((n, 5), (n,), None)
    np.testing.assert_allclose(backend.generate(latent), cells, atol=1e-4)
    np.testing.assert_allclose(found.cluster_probs, described[0], atol=1e-4)
    np.testing.assert_allclose(found.surprise, described[1], rtol=1e-4, atol=1e-3)


def test_safetensors_give_what_pytorch_gave(exported, nets):
    fallback = TorchBackend(exported, load_bundle(exported, threads=1).manifest)
    with torch.inference_mode():
        expected = nets.ema_generator(torch.from_numpy(latents(7))).numpy()
    np.testing.assert_allclose(fallback.generate(latents(7)), expected, atol=1e-6)


def test_onnx_files_name_no_path_of_this_machine(exported):
    for file in exported.glob("*.onnx"):
        written = file.read_bytes()
        assert str(REPOSITORY).encode() not in written
        assert b"site-packages" not in written


@pytest.mark.parametrize("name", ["q.onnx", "generator.onnx"])
def test_onnx_files_stand_alone(exported, name):
    model = onnx.load(exported / name)
    onnx.checker.check_model(model)
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [18]
    assert not any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer)


def test_golden_pair_has_cells_of_every_cluster_and_is_reproduced(exported, backend):
    golden, cells = read_golden(exported)
    codes = np.array(golden.latent)[:, :5].argmax(axis=1)
    assert np.bincount(codes).tolist() == [4] * 5
    found = backend.describe(to_network(cells))
    np.testing.assert_allclose(found.cluster_probs, golden.cluster_probs, atol=golden.tolerance)
    np.testing.assert_allclose(found.surprise, golden.surprise, rtol=golden.tolerance, atol=golden.tolerance)


def test_sample_tile_can_be_analysed(exported):
    analysis = analyse((exported / "sample.png").read_bytes(), load_bundle(exported, threads=1), max_pixels=10**6)
    assert analysis.tile.width == analysis.tile.height == 512


def test_tampered_golden_pair_is_refused(exported, tmp_path):
    directory = shutil.copytree(exported, tmp_path / "tiny")
    golden = json.loads((directory / "golden/expected.json").read_text(encoding="utf-8"))
    golden["latent"][0][-1] += 3.0
    (directory / "golden/expected.json").write_text(json.dumps(golden), encoding="utf-8")
    manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    changed = hashlib.sha256((directory / "golden/expected.json").read_bytes()).hexdigest()
    manifest["files"]["golden/expected.json"] = changed
    (directory / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(InvalidBundle, match="golden"):
        load_bundle(directory, threads=1)


def refuse(*_, **__):
    raise InvalidBundle("tiny: Q does not reproduce its golden pair")


@pytest.mark.parametrize(
    ("name", "replacement", "error"),
    [
        pytest.param("max_difference", lambda *_: 2 * MAX_ONNX_DIFFERENCE, ExportError, id="ONNX differs"),
        pytest.param("max_difference", lambda *_: float("nan"), ExportError, id="ONNX gives NaN"),
        pytest.param("load_bundle", refuse, InvalidBundle, id="the self-test fails"),
    ],
)
def test_failing_export_leaves_the_bundle_before_it(export, exported, tmp_path, monkeypatch, name, replacement, error):
    target = shutil.copytree(exported, tmp_path / "models" / "tiny")
    monkeypatch.setattr(training.bundle.export, name, replacement)
    with pytest.raises(error):
        export(target)
    assert contents(target) == contents(exported)
    with pytest.raises(error):
        export(tmp_path / "models" / "another")
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["tiny"]


@contextmanager
def no_file_over(size):
    """Let the system itself refuse to write any file beyond this size."""
    resource = pytest.importorskip("resource", reason="this system has no such limit")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def full_disk_for(name):
    """Act like a disk that is full when half of the file of this name is written."""
    whole = Path.write_bytes

    def half(path, data):
        if not path.name.endswith(name):
            return whole(path, data)
        whole(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "write_bytes", half)
        yield


@pytest.mark.parametrize(
    ("disk", "file"),
    [
        pytest.param(partial(no_file_over, 2000), "generator.onnx", id="ONNX, by the system's own limit"),
        pytest.param(partial(full_disk_for, "weights.safetensors"), "weights.safetensors", id="weights"),
        pytest.param(partial(full_disk_for, "expected.json"), "golden/expected.json", id="golden pair"),
        pytest.param(partial(full_disk_for, "manifest.json"), "manifest.json", id="manifest"),
    ],
)
def test_full_disk_names_the_file_and_leaves_the_bundle_before_it(export, exported, tmp_path, disk, file):
    target = shutil.copytree(exported, tmp_path / "models" / "tiny")
    with disk(), pytest.raises(OSError) as raised:
        export(target)
    assert raised.value.filename == str(target / file)
    assert raised.value.errno in (errno.ENOSPC, errno.EFBIG)
    assert contents(target) == contents(exported)
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["tiny"]


def test_export_replaces_the_bundle_of_that_name(export, exported, tmp_path):
    target = shutil.copytree(exported, tmp_path / "tiny")
    (target / "leftover").write_text("of an older version")
    export(target, bundle_version="8")
    assert load_bundle(target, threads=1).manifest.version == "8"
    assert set(contents(target)) == {*named(target), "manifest.json"}


def test_names_of_clusters_stay_where_the_weights_are_the_same(export, exported, tmp_path):
    target = shutil.copytree(exported, tmp_path / "tiny")
    manifest = load_bundle(target, threads=1).manifest
    entry = ClusterName(cluster=0, name="round", by="somebody", when="2026-01-01", cells=None)
    names = ClusterNames(version=3, clusters=(entry,))

    def exported_after(before):
        (target / "manifest.json").write_text(before.model_dump_json(), encoding="utf-8")
        export(target, bundle_version="8")
        return load_bundle(target, threads=1).manifest.cluster_names

    assert exported_after(manifest.model_copy(update={"cluster_names": names})) == names
    others = manifest.files | {"weights.safetensors": "0" * 64}
    assert exported_after(manifest.model_copy(update={"cluster_names": names, "files": others})) is None


def test_run_that_has_not_learned_is_not_written(export, tmp_path):
    with pytest.raises(ExportError, match="not learned enough"):
        export(tmp_path / "models" / "tiny", unfit=False)
    assert list(tmp_path.rglob("*.json")) == []


@pytest.mark.parametrize("name", ["Mine", "our tiles", "ü"])
def test_name_that_no_bundle_can_have_is_refused(export, tmp_path, name):
    with pytest.raises(ExportError, match=name):
        export(tmp_path / "models" / name)
    assert not (tmp_path / "models").exists()


def test_directory_that_is_no_bundle_is_left_as_it_is(export, tmp_path):
    (tmp_path / "models" / "marrow").mkdir(parents=True)
    (tmp_path / "models" / "marrow" / "manifest.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ExportError, match="not a bundle"):
        export(tmp_path / "models")
    assert (tmp_path / "models" / "marrow" / "manifest.json").exists()
