import cv2
import numpy as np
import pytest
import torch
from skimage.data import chelsea
from sklearn.metrics import adjusted_rand_score

from app.pipeline.crops import surroundings
from tests.training.study.drawn_cells import placed
from training.errors import DataError
from training.study.baselines.imagenet_cnn import (
    ImageNetFeatures,
    ImageNetKMeans,
    load_network,
    load_resnet50_trunk,
    resnet50_trunk,
)
from training.study.systems.cell_systems import clusterer, describer

IMAGENET_CATS = {281, 282, 283, 284, 285}


@pytest.fixture(scope="module")
def lite0() -> ImageNetFeatures:
    return ImageNetFeatures(seed=0)


@pytest.fixture(scope="module")
def cat() -> np.ndarray:
    """The middle of scikit-image's photograph of a cat, (300, 300, 3) uint8."""
    return np.ascontiguousarray(chelsea()[:, 75:375])


def test_the_network_knows_a_cat(lite0, cat):
    """The weights, their scaling and the pooling are right only together."""
    assert lite0.network.name == "EfficientNet-Lite0"
    features = torch.from_numpy(lite0.tile_features(cat))
    with torch.inference_mode():
        scores = lite0.network.trunk.network._fc(features)
    assert set(scores.topk(3).indices.tolist()) <= IMAGENET_CATS


def test_a_cell_has_1280_features_whatever_cells_are_described_with_it(lite0, three_kinds):
    features = lite0.features(three_kinds[:20])
    assert features.shape == (20, 1280)
    assert features.dtype == np.float32
    assert lite0.features(three_kinds[17:18]) == pytest.approx(features[17:18], abs=1e-3)


def test_a_tile_is_cut_from_the_middle(lite0, cat):
    framed = np.zeros((900, 1000, 3), np.uint8)
    framed[50:850, 100:900] = cv2.resize(cat, (800, 800))
    assert lite0.tile_features(framed) == pytest.approx(lite0.tile_features(framed[50:850, 100:900]), abs=1e-3)
    assert lite0.tile_features(cat[:, :200]).shape == (1280,)


def test_one_sees_the_nucleus_and_the_other_what_lies_round_it(lite0, three_kinds):
    seen = three_kinds[:4]
    other_surroundings, other_nucleus = seen.copy(), seen.copy()
    other_surroundings[..., 3:], other_nucleus[..., :3] = 0, 0
    looking_round = describer("cnn-surroundings")(0)
    assert np.array_equal(lite0.features(other_surroundings), lite0.features(seen))
    assert np.array_equal(looking_round.features(other_nucleus), looking_round.features(seen))
    assert np.array_equal(looking_round.features(seen), lite0.features(surroundings(seen)))


def test_clusters_of_surroundings_are_those_of_what_is_seen_there(three_kinds, kinds):
    turned = np.concatenate([three_kinds[..., 3:6], three_kinds[..., :3], three_kinds[..., 6:]], axis=3)
    system = clusterer("cnn-surroundings-kmeans")(3, 0)
    system.fit(placed(turned))
    assert adjusted_rand_score(kinds, system.clusters(turned)) > 0.9


def test_kinds_become_clusters(three_kinds, kinds):
    system = ImageNetKMeans(3, 0)
    system.fit(placed(three_kinds))
    assert adjusted_rand_score(kinds, system.clusters(three_kinds)) > 0.9


def test_resnet50_takes_its_place_where_its_weights_are_given(tmp_path, three_kinds):
    torch.save(resnet50_trunk().state_dict(), tmp_path / "resnet50.pth")
    features = ImageNetFeatures(0, tmp_path / "resnet50.pth")
    assert features.network.name == "ResNet-50"
    assert features.features(three_kinds[:2]).shape == (2, 1024)
    load_network.cache_clear()


def test_it_is_the_published_network_without_its_last_stage():
    """torchvision's ResNet-50 has 25,557,032 parameters: 14,964,736 of them in layer4 and 2,049,000 in fc."""
    trunk = resnet50_trunk()
    assert sum(values.numel() for values in trunk.parameters()) == 25_557_032 - 14_964_736 - 2_049_000
    assert {"conv1.weight", "layer1.0.downsample.1.running_var", "layer3.5.conv3.weight"} <= trunk.state_dict().keys()
    assert trunk.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 1024, 4, 4)


def test_weights_of_the_whole_network_are_taken(tmp_path):
    state = {name: torch.rand_like(value.float()) for name, value in resnet50_trunk().state_dict().items()}
    torch.save({**state, "layer4.0.conv1.weight": torch.zeros(1), "fc.bias": torch.zeros(1)}, tmp_path / "w.pth")
    loaded = load_resnet50_trunk(tmp_path / "w.pth").state_dict()
    assert torch.equal(loaded["layer3.5.bn3.bias"], state["layer3.5.bn3.bias"])


@pytest.mark.parametrize("content", [None, b"not weights", {"conv1.weight": torch.zeros(1)}, [1, 2]])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(DataError, match=r"weights\.pth does not hold the weights of a ResNet-50"):
        load_resnet50_trunk(path)
