import numpy as np
import pytest
import torch

from app.pipeline.errors import InvalidBundle
from app.pipeline.manifest import SEGMENTER_ONNX, SEGMENTER_WEIGHTS
from app.pipeline.networks.architecture import Segmenter
from app.pipeline.networks.onnx import OnnxSegmenter
from app.pipeline.networks.open import open_segmenter
from app.pipeline.networks.pytorch import TorchSegmenter
from training.bundle.onnx_export import write_segmenter


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return Segmenter(4).eval()


@pytest.fixture
def written(net, tmp_path):
    write_segmenter(net, tmp_path)
    return tmp_path


@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (3, 3, 104, 40)])
def test_both_backends_give_the_maps_of_the_network_at_any_size(net, written, shape):
    tiles = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    with torch.inference_mode():
        wanted = torch.sigmoid(net(torch.from_numpy(tiles))).numpy()
    by_onnx = open_segmenter(written, threads=1)
    assert isinstance(by_onnx, OnnxSegmenter)
    np.testing.assert_allclose(by_onnx(tiles), wanted, atol=1e-5)
    (written / SEGMENTER_ONNX).unlink()
    by_torch = open_segmenter(written)
    assert isinstance(by_torch, TorchSegmenter)
    np.testing.assert_allclose(by_torch(tiles), wanted, atol=1e-6)


def test_without_any_network_the_reason_is_given(tmp_path):
    with pytest.raises(InvalidBundle, match=f"{SEGMENTER_ONNX} is missing, and so is {SEGMENTER_WEIGHTS}"):
        open_segmenter(tmp_path)


@pytest.mark.parametrize("name", [SEGMENTER_ONNX, SEGMENTER_WEIGHTS])
def test_a_damaged_network_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"no network")
    with pytest.raises(InvalidBundle, match=name):
        open_segmenter(tmp_path)
