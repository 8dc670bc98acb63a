import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.pipeline.crops import to_network
from app.pipeline.networks.architecture import Segmenter
from app.pipeline.networks.onnx import OnnxSegmenter
from app.pipeline.nuclei.network import REACH_PX
from training.bundle.channels_last import PIXEL_SCALE, PIXEL_ZERO, Conv, channels_last
from training.bundle.onnx_export import write_segmenter
from training.bundle.quantise import rounded_segmenter


@pytest.fixture(scope="module")
def rounded(tmp_path_factory):
    """What the quantiser makes of a segmenter that has learned nothing, but sees its tile."""
    torch.manual_seed(0)
    net = Segmenter(8).eval()
    with torch.no_grad():
        for weights in net.parameters():
            if weights.dim() == 4:
                weights.mul_(2)
    directory = tmp_path_factory.mktemp("segmenter")
    write_segmenter(net, directory)
    tiles = [to_network(tile[None]) for tile in np.random.default_rng(1).integers(0, 256, (4, 128, 128, 3), np.uint8)]
    return rounded_segmenter(directory / "segmenter.onnx", tiles)


def test_its_maps_are_those_of_the_quantised_network_but_for_the_border(rounded, tmp_path):
    onnx.save(channels_last(rounded), tmp_path / "segmenter.onnx")
    size = 2 * REACH_PX + 64
    pixels = np.random.default_rng(2).integers(0, 256, (size, size + 8, 3), np.uint8)
    wanted = onnxruntime.InferenceSession(rounded.SerializeToString()).run(None, {"tiles": to_network(pixels[None])})
    given = OnnxSegmenter(tmp_path / "segmenter.onnx", threads=1)(pixels)
    inner = (slice(None), slice(REACH_PX, -REACH_PX), slice(REACH_PX, -REACH_PX))
    spread = wanted[0][0][inner].std()
    assert spread > 0.01, "a network that gives the same everywhere would pass whatever is wrong"
    assert np.abs(given - wanted[0][0])[inner].mean() < 0.1 * spread


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_the_first_convolution_gives_the_same_for_pixels_as_they_lie(seed):
    rng = np.random.default_rng(seed)
    conv = Conv(
        rng.integers(-64, 64, (5, 12, 3, 3)).astype(np.int8),
        rng.uniform(0.1, 1, 5).astype(np.float32),
        rng.normal(size=5),
        1.0,
    )
    pixels = rng.integers(0, 256, (6, 6, 3))
    # Channels of the quantised network: colour, row, column; of the tile as it lies: row, column, colour.
    planes = (pixels / 127.5 - 1).reshape(3, 2, 3, 2, 3).transpose(4, 1, 3, 0, 2).reshape(12, 3, 3)
    lying = pixels.reshape(3, 2, 3, 2, 3).transpose(1, 3, 4, 0, 2).reshape(12, 3, 3)
    scale = conv.weight_scale.astype(np.float64)
    wanted = (conv.weights * planes).sum(axis=(1, 2, 3)) * scale + conv.bias
    ours = conv.of_pixels()
    found = (ours.weights * ((lying - PIXEL_ZERO) * PIXEL_SCALE)).sum(axis=(1, 2, 3)) * scale + ours.bias
    np.testing.assert_allclose(found, wanted)
