import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.pipeline.crops import to_network
from app.pipeline.errors import InvalidBundle
from app.pipeline.manifest import SEGMENTER_ONNX, SEGMENTER_WEIGHTS
from app.pipeline.networks.architecture import Segmenter
from app.pipeline.networks.onnx import OnnxSegmenter, from_blocks, to_blocks
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


def pixels_of(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", [(16, 16), (104, 40)])
def test_both_backends_give_the_maps_of_the_network_at_any_size(net, written, size):
    pixels = pixels_of(*size)
    with torch.inference_mode():
        wanted = torch.sigmoid(net(torch.from_numpy(to_network(pixels[None]))))[0].numpy()
    by_onnx = open_segmenter(written, threads=1)
    assert isinstance(by_onnx, OnnxSegmenter)
    np.testing.assert_allclose(by_onnx(pixels), wanted, atol=1e-5)
    (written / SEGMENTER_ONNX).unlink()
    by_torch = open_segmenter(written)
    assert isinstance(by_torch, TorchSegmenter)
    np.testing.assert_allclose(by_torch(pixels), wanted, atol=1e-6)


@given(st.integers(1, 6), st.integers(1, 6), st.randoms(use_true_random=False))
def test_blocks_have_every_pixel_in_its_place(rows, columns, random):
    height, width = 2 * rows, 2 * columns
    pixels = np.array([random.randrange(256) for _ in range(height * width * 3)], np.uint8).reshape(height, width, 3)
    blocks = to_blocks(pixels)
    assert blocks.shape == (1, rows, columns, 12)
    for y, x, colour in np.ndindex(pixels.shape):
        assert blocks[0, y // 2, x // 2, 6 * (y % 2) + 3 * (x % 2) + colour] == pixels[y, x, colour]
    maps = from_blocks(np.arange(rows * columns * 8, dtype=np.float32).reshape(-1, 8), height, width)
    for which, y, x in np.ndindex(maps.shape):
        assert maps[which, y, x] == 8 * (y // 2 * columns + x // 2) + 4 * which + 2 * (y % 2) + x % 2


def test_without_any_network_the_reason_is_given(tmp_path):
    with pytest.raises(InvalidBundle, match=f"{SEGMENTER_ONNX} is missing, and so is {SEGMENTER_WEIGHTS}"):
        open_segmenter(tmp_path)


@pytest.mark.parametrize("name", [SEGMENTER_ONNX, SEGMENTER_WEIGHTS])
def test_a_damaged_network_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"no network")
    with pytest.raises(InvalidBundle, match=name):
        open_segmenter(tmp_path)
