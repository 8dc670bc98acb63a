import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional

from app.pipeline.networks.architecture import ClusterNet, CriticQ, Encoder, EncoderQ, PictureSurprise, Surprise
from training.bundle.onnx_export import fold_pooling, pooled_conv, write_onnx


@pytest.fixture
def q():
    torch.manual_seed(0)
    net = ClusterNet(CriticQ(6, 3), Surprise(8 * 6, 4, 3)).eval()
    net.surprise.projection.normal_()
    net.surprise.whitening.normal_()
    return net


@pytest.mark.parametrize(("kernel", "padding"), [(1, 0), (3, 1)])
def test_pooled_convolution_is_the_mean_of_four(kernel, padding):
    torch.manual_seed(1)
    conv, x = nn.Conv2d(2, 5, kernel, padding=padding), torch.randn(3, 2, 8, 8)
    torch.testing.assert_close(pooled_conv(conv)(x), functional.avg_pool2d(conv(x), 2), rtol=1e-5, atol=1e-6)


def test_one_by_one_kernel_is_spread_evenly():
    conv = nn.Conv2d(1, 1, 1)
    with torch.no_grad():
        conv.weight.fill_(8.0)
    assert pooled_conv(conv).weight.flatten().tolist() == [2.0, 2.0, 2.0, 2.0]


def test_folded_q_says_the_same_and_pools_nothing(q):
    x = torch.rand(7, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        for found, expected in zip(fold_pooling(q)(x), q(x), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_q_itself_is_left_as_it_was(q):
    before = {name: value.clone() for name, value in q.state_dict().items()}
    folded = fold_pooling(q)
    with torch.no_grad():
        folded.trunk.blocks[2].conv1.weight.zero_()
    assert all(np.array_equal(before[name], value) for name, value in q.state_dict().items())


def test_encoder_is_written_without_batch_norm_and_says_the_same(tmp_path):
    torch.manual_seed(0)
    q = EncoderQ(Encoder(7, 4), 3)
    for _ in range(5):
        q(torch.randn(8, 7, 32, 32) * 3 + 1)  # moves the statistics of every batch norm
    net = ClusterNet(q, PictureSurprise(2, 4, 3)).eval()
    x = torch.rand(7, 7, 32, 32) * 2 - 1
    write_onnx(fold_pooling(net), torch.zeros(2, 7, 32, 32), tmp_path / "q.onnx", "crops", net.outputs)
    assert "BatchNormalization" not in {node.op_type for node in onnx.load(tmp_path / "q.onnx").graph.node}
    found = onnxruntime.InferenceSession(tmp_path / "q.onnx").run(None, {"crops": x.numpy()})
    with torch.no_grad():
        for output, expected in zip(found, net(x), strict=True):
            np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-4)
