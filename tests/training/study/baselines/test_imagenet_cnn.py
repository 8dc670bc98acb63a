import cv2
import numpy as np
import pytest
import torch
from skimage.data import chelsea
from sklearn.metrics import adjusted_rand_score

from training.study.baselines.imagenet_cnn import ImageNetFeatures, ImageNetKMeans, load_network
from training.study.baselines.resnet50 import resnet50_trunk

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


def test_a_cell_has_1280_features_whatever_its_company(lite0, three_kinds):
    features = lite0.features(three_kinds[:20])
    assert features.shape == (20, 1280)
    assert features.dtype == np.float32
    assert lite0.features(three_kinds[17:18]) == pytest.approx(features[17:18], abs=1e-3)


def test_a_tile_is_cut_from_the_middle(lite0, cat):
    framed = np.zeros((900, 1000, 3), np.uint8)
    framed[50:850, 100:900] = cv2.resize(cat, (800, 800))
    assert lite0.tile_features(framed) == pytest.approx(lite0.tile_features(framed[50:850, 100:900]), abs=1e-3)
    assert lite0.tile_features(cat[:, :200]).shape == (1280,)


def test_kinds_become_clusters(three_kinds, kinds):
    system = ImageNetKMeans(3, 0)
    system.fit(three_kinds)
    assert adjusted_rand_score(kinds, system.clusters(three_kinds)) > 0.9


def test_resnet50_takes_its_place_where_its_weights_are_given(tmp_path, three_kinds):
    torch.save(resnet50_trunk().state_dict(), tmp_path / "resnet50.pth")
    features = ImageNetFeatures(0, tmp_path / "resnet50.pth")
    assert features.network.name == "ResNet-50"
    assert features.features(three_kinds[:2]).shape == (2, 1024)
    load_network.cache_clear()
