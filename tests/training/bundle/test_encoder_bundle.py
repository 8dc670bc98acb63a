"""A run whose Q stands on an encoder and sees surroundings: it is exported, loaded, damaged and refitted."""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from app.pipeline.bundle.load import load_bundle, read_golden
from app.pipeline.crops import to_network
from app.pipeline.errors import InvalidBundle
from app.pipeline.networks.architecture import ClusterNet, Encoder, EncoderQ, Generator
from app.pipeline.networks.encode import encode
from app.pipeline.networks.onnx import OnnxBackend
from app.pipeline.networks.pytorch import TorchBackend
from app.pipeline.run import analyse
from training.bundle import fast_network
from training.bundle.export import FinishedRun, export_bundle
from training.bundle.outliers import fit_outliers
from training.bundle.refit import refit_bundle
from training.gan.checks import assign_clusters, check_model
from training.label.image_level import fit_image_level

pytestmark = pytest.mark.slow
K, WIDTH = 5, 4


@pytest.fixture(scope="module")
def config(smoke, encoder_config):
    train = replace(smoke.train, encoder=replace(encoder_config, width=WIDTH))
    return replace(smoke, train=train)


@pytest.fixture(scope="module")
def seeing_cells(cells):
    """Cells whose crops show the nucleus a second time, at half size, with its mask."""
    field = np.full_like(cells.crops, 255)
    field[:, 8:24, 8:24] = cells.crops[:, ::2, ::2]
    mask = np.where((field < 255).any(axis=3, keepdims=True), 255, 0).astype(np.uint8)
    seeing = np.concatenate([cells.crops, field, mask], axis=3)
    return replace(cells, crops=seeing, compressed=seeing)


@pytest.fixture(scope="module")
def run(config, seeing_cells):
    torch.manual_seed(0)
    q, generator = EncoderQ(Encoder(7, WIDTH), K), Generator(config.train.channels, K, 8, 3.0, outputs=7)
    with torch.no_grad():
        q.code_logits.weight.mul_(20)  # by chance alone, it would put nearly all cells into one cluster
    crops = torch.from_numpy(to_network(seeing_cells.crops))
    for _ in range(20):  # moves the statistics of every batch norm
        q(crops)
        generator(torch.randn(16, K + 8))
    q.eval()
    generator.eval()
    clusters = assign_clusters(q, crops)
    return FinishedRun(
        config=config,
        cells=seeing_cells,
        generator=generator,
        q=q,
        iterations=3,
        checks=check_model(generator, q, seeing_cells.crops, per_cluster=20),
        image_level=fit_image_level(seeing_cells, clusters, K, config.fit),
        outliers=fit_outliers(q, seeing_cells.crops, seeing_cells.tile_index),
    )


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """A bundle with a fast Q, however well that agrees."""
    target = tmp_path_factory.mktemp("models") / "seeing"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fast_network, "failures", lambda _: [])
        export_bundle(target, run, "1", unfit=True)
    return target


def test_manifest_says_what_q_sees_and_stands_on(exported):
    bundle = load_bundle(exported, threads=1)
    assert (bundle.manifest.architecture.crops, bundle.manifest.architecture.encoder_width) == ("surroundings", WIDTH)
    assert bundle.manifest.n_features == 8 * WIDTH
    assert bundle.manifest.metrics.onnx_max_difference <= 1e-4
    assert bundle.backend.precisions == ("full", "fast")
    assert bundle.warnings == ()


def test_both_backends_give_what_the_run_gave(exported, run, seeing_cells):
    x = to_network(seeing_cells.crops)
    with torch.inference_mode():
        expected = ClusterNet(run.q, run.outliers.surprise)(torch.from_numpy(x))
        drawn = run.generator(torch.eye(K + 8)).numpy()
    manifest = load_bundle(exported, threads=1).manifest
    for backend in (OnnxBackend(exported, threads=1), TorchBackend(exported, manifest)):
        found = backend.describe(x)
        np.testing.assert_allclose(found.cluster_probs, expected[0], atol=1e-4)
        np.testing.assert_allclose(found.surprise, expected[1], rtol=1e-3, atol=1e-2)
        np.testing.assert_allclose(found.features, expected[2], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(backend.generate(np.eye(K + 8, dtype=np.float32)), drawn, atol=1e-4)


def test_a_tile_is_analysed_with_features(exported):
    analysis = analyse((exported / "sample.png").read_bytes(), load_bundle(exported, threads=1), max_pixels=10**6)
    assert analysis.precision == "fast"
    assert analysis.features.shape == (len(analysis.cells.areas_px), 8 * WIDTH)


def test_golden_pair_holds_the_features_of_both_qs(exported):
    golden, cells = read_golden(exported)
    assert cells.shape == (4 * K, 32, 32, 7)
    backend = OnnxBackend(exported, threads=1, has_fast=True)
    for precision, expected in (("full", golden), ("fast", golden.fast)):
        found = encode(cells, backend, K, precision)
        np.testing.assert_allclose(found.features, expected.features, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda golden: golden["features"][3].__setitem__(2, 50.0), id="one feature is another"),
        pytest.param(lambda golden: golden["features"].pop(), id="a cell has none"),
        pytest.param(lambda golden: golden.update(features=None), id="there are none"),
    ],
)
def test_other_features_than_the_golden_ones_are_refused(exported, tmp_path, damage):
    directory = shutil.copytree(exported, tmp_path / "seeing")
    golden = json.loads((directory / "golden/expected.json").read_text(encoding="utf-8"))
    damage(golden)
    content = json.dumps(golden).encode()
    (directory / "golden/expected.json").write_bytes(content)
    manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"]["golden/expected.json"] = hashlib.sha256(content).hexdigest()
    (directory / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(InvalidBundle, match="Q does not reproduce its golden pair"):
        load_bundle(directory, threads=1)


def test_refitted_bundle_keeps_its_networks(exported, seeing_cells, tmp_path):
    directory = shutil.copytree(exported, tmp_path / "seeing")
    before = load_bundle(directory, threads=1).manifest
    refit_bundle(directory, seeing_cells, "2", torch.device("cpu"))
    after = load_bundle(directory, threads=1).manifest
    assert (after.version, after.files, after.architecture) == ("2", before.files, before.architecture)
    assert after.outliers.tile_surprise.mean == pytest.approx(before.outliers.tile_surprise.mean, rel=1e-3)
    assert len(after.descriptions.clusters) == K
    assert after.metrics.explained == before.metrics.explained
