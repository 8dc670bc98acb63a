import numpy as np
import pytest
from PIL import Image

from app.pipeline.bundle.load import load_bundle
from app.pipeline.crops import from_network, pictures, seen, to_network
from app.pipeline.networks.encode import encode
from app.pipeline.prototypes import draw_noise, join_latent, prototypes
from app.pipeline.run import analyse
from tests.conftest import REPOSITORY
from training.bundle.gates import GATES, MAX_ONNX_DIFFERENCE, failed_gates
from training.cells.extract import extract_cells
from training.cells.tile_files import tile_paths
from training.gan.checks import diversity

MAX_BYTES = 12_000_000
BUNDLES = sorted(path.parent for path in (REPOSITORY / "models").glob("*/manifest.json"))
N = 200


@pytest.fixture(scope="module", params=BUNDLES, ids=lambda directory: directory.name)
def directory(request):
    return request.param


@pytest.fixture(scope="module")
def bundle(directory):
    return load_bundle(directory, threads=1)


@pytest.fixture(scope="module")
def drawn(bundle):
    """N fresh cells of each cluster as the generator gives them, (K, N, 32, 32, C)."""
    k = bundle.manifest.n_clusters
    noise = draw_noise(k * N, bundle.manifest.latent_size, 1000)
    latent = join_latent(np.repeat(np.arange(k), N), noise, k)
    cells = [from_network(bundle.backend.generate(part)) for part in np.split(latent, k * N // 50)]
    return np.concatenate(cells).reshape(k, N, *cells[0].shape[1:])


@pytest.fixture(scope="module")
def probs(bundle, drawn):
    """What Q says of them, (K, N, K)."""
    k = bundle.manifest.n_clusters
    return encode(drawn.reshape(-1, *drawn.shape[2:]), bundle.backend, k).cluster_probs.reshape(k, N, k)


def test_the_default_bundle_is_there():
    assert "marrow" in {directory.name for directory in BUNDLES}


def test_bundle_is_named_after_its_directory(bundle, directory):
    assert bundle.manifest.name == directory.name


def test_bundle_passes_every_gate(bundle):
    assert failed_gates(bundle.manifest.metrics) == []


def test_bundle_is_small_and_holds_no_pickle(directory):
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MAX_BYTES
    assert {path.suffix for path in files} <= {".json", ".onnx", ".safetensors", ".png"}
    assert not any(path.read_bytes()[:2] in (b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05") for path in files)


def test_fresh_prototypes_go_back_into_their_cluster(bundle, probs):
    k = bundle.manifest.n_clusters
    fidelity = (probs.argmax(axis=2) == np.arange(k)[:, None]).mean(axis=1)
    assert fidelity.min() >= 0.95
    claimed = [cluster.fidelity for cluster in bundle.manifest.metrics.clusters]
    np.testing.assert_allclose(fidelity, claimed, atol=0.05)


def test_loss_of_q_on_fresh_prototypes_is_what_the_manifest_says(bundle, probs):
    k = bundle.manifest.n_clusters
    loss = -np.log(np.maximum(probs[np.arange(k), :, np.arange(k)], 1e-7)).mean()
    assert loss == pytest.approx(bundle.manifest.metrics.loss_q, abs=0.05)


def test_prototypes_of_different_clusters_differ(drawn):
    means = drawn.reshape(len(drawn), N, -1).astype(float).mean(axis=1)
    distances = np.linalg.norm(means[:, None] - means[None], axis=2) / np.sqrt(means.shape[1])
    assert distances[~np.eye(len(means), dtype=bool)].min() > 3


def test_prototypes_of_one_cluster_differ(drawn):
    for cells in drawn:
        assert len({cell.tobytes() for cell in cells}) == N
        assert cells.astype(float).std(axis=0).mean() > 5


def test_prototypes_look_like_nuclei(drawn):
    """Dark in the middle, on white."""
    nuclei = pictures(drawn)
    assert nuclei[:, :, 12:20, 12:20].mean() < 180
    corners = nuclei[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert np.median(corners) > 240


def test_sample_tile_is_drawn_and_holds_cells_of_most_clusters(bundle, directory):
    with Image.open(directory / "sample.png") as image:
        assert image.info == {}
    analysis = analyse((directory / "sample.png").read_bytes(), bundle, max_pixels=10**6)
    assert analysis.label.value in {"normal", "abnormal"}
    assert (analysis.proportions.counts > 0).sum() > bundle.manifest.n_clusters / 2


def test_provenance_is_complete(bundle):
    training = bundle.manifest.training
    assert training.code_version
    assert training.config["train"]["generator_iterations"] == training.iterations
    assert {"torch", "onnx", "numpy"} <= set(training.libraries)
    for source in training.data:
        assert all((source.name, source.description, source.source, source.licence))
    assert bundle.manifest.metrics.onnx_max_difference <= MAX_ONNX_DIFFERENCE
    assert "imulated" in bundle.manifest.image_level.label_basis


def test_shares_of_the_clusters_sum_to_one(bundle):
    assert sum(cluster.share for cluster in bundle.manifest.metrics.clusters) == pytest.approx(1, abs=1e-6)


@pytest.mark.slow
def test_bundle_sorts_real_cells_as_its_card_says(bundle, bm_graz):
    """Measured anew on the cells of the training tiles, with the networks as they are served."""
    cells = extract_cells(
        tile_paths(bm_graz / "tiles"), bundle.manifest.segmentation, bundle.manifest.mpp, network=bundle.segmenter
    )
    k = bundle.manifest.n_clusters
    crops = seen(cells.crops, bundle.manifest.architecture.crops)
    clusters = encode(crops, bundle.backend, k).cluster_probs.argmax(axis=1)
    metrics = bundle.manifest.metrics
    shares = np.bincount(clusters, minlength=k) / len(clusters)
    np.testing.assert_allclose(shares, [cluster.share for cluster in metrics.clusters], atol=0.01)
    assert shares.min() >= GATES["share"].limit
    turned = [
        encode(np.rot90(crops, turns, axes=(1, 2)), bundle.backend, k).cluster_probs.argmax(axis=1)
        for turns in (1, 2, 3)
    ]
    agreement = np.mean([clusters == other for other in turned])
    assert agreement == pytest.approx(metrics.rotation_agreement, abs=0.01)
    assert agreement >= GATES["rotation_agreement"].limit
    drawn = [prototypes(bundle, c, 16, 3) for c in range(k)]
    flat = to_network(np.concatenate(drawn)).reshape(k, 16, -1)
    real = to_network(pictures(crops)).reshape(len(cells), -1)
    assert min(diversity(flat, real, clusters, 3)) >= GATES["diversity"].limit
