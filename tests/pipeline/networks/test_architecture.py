import pytest
import torch

from app.pipeline.networks.architecture import (
    ClusterNet,
    CriticQ,
    Encoder,
    EncoderQ,
    Generator,
    Surprise,
    map_statistics,
    picture_statistics,
    pictures_in,
    pooled,
)


def settled(net):
    """Give every batch norm statistics and weights of its own, as training does, and return the net as it is served."""
    torch.manual_seed(1)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.running_mean, module.weight.data, module.bias.data):
                values.normal_()
            module.running_var.uniform_(0.5, 2)
    return net.eval()


@pytest.mark.parametrize("n_channels", [3, 7])
def test_networks_take_and_give_crops_of_any_channels(n_channels):
    crops = Generator(8, 5, 4, outputs=n_channels)(torch.eye(9)[:6])
    assert crops.shape == (6, n_channels, 32, 32)
    scores, logits = CriticQ(8, 5, inputs=n_channels)(crops)
    assert (scores.shape, logits.shape) == ((6,), (6, 5))
    assert EncoderQ(Encoder(n_channels, 4), 5)(crops).shape == (6, 5)


def test_every_block_of_the_encoder_halves_the_map_and_doubles_the_channels():
    encoder, crops = Encoder(7, 4), torch.randn(2, 7, 32, 32)
    maps = encoder.maps(crops)
    assert [tuple(h.shape[1:]) for h in maps] == [(4, 32, 32), (8, 16, 16), (16, 8, 8), (32, 4, 4)]
    assert tuple(h.shape[1] for h in maps) == encoder.widths
    torch.testing.assert_close(encoder(crops), maps[-1].mean(dim=(2, 3)))


def test_head_of_q_is_applied_to_the_features():
    q, crops = settled(EncoderQ(Encoder(3, 4), 5)), torch.randn(6, 3, 32, 32)
    torch.testing.assert_close(q.features(crops), pooled(q.maps(crops)))
    torch.testing.assert_close(q(crops), q.code_logits(q.features(crops)))


def test_cell_seen_alone_is_described_as_among_others():
    q, crops = settled(EncoderQ(Encoder(7, 4), 5)), torch.randn(6, 7, 32, 32)
    torch.testing.assert_close(q(crops[2:3]), q(crops)[2:3], rtol=1e-4, atol=1e-5)


def test_encoder_is_served_as_the_trunk_is():
    q = settled(EncoderQ(Encoder(7, 4), 5))
    crops = torch.randn(6, 7, 32, 32)
    statistics = map_statistics(q.maps(crops))
    assert statistics.shape == (6, 2 * sum(q.trunk.widths))
    probs, surprise, features = ClusterNet(q, Surprise(statistics.shape[1], 2, 5)).eval()(crops)
    torch.testing.assert_close(features, q.features(crops))
    torch.testing.assert_close(probs, q(crops).softmax(dim=1))
    assert surprise.shape == (6,)


def test_pictures_in_crops_are_the_nucleus_and_its_surroundings():
    crops = torch.randn(2, 7, 32, 32)
    nucleus, surroundings = pictures_in(crops)
    assert torch.equal(nucleus, crops[:, :3])
    assert torch.equal(surroundings, crops[:, 3:6])
    assert len(pictures_in(crops[:, :3])) == 1


def test_statistics_of_a_picture_are_its_colour_and_the_sizes_of_its_texture():
    """A chequerboard of 2 × 2 px squares on one channel: it is gone where 4 × 4 px are one."""
    board = torch.kron(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(8, 8), torch.ones(2, 2))
    picture = torch.stack([0.5 * board + 0.25, torch.full((32, 32), -1.0), torch.zeros(32, 32)])[None]
    mean, luma, *spreads = picture_statistics(picture)[0].split([3, 1, 3, 3, 3])
    assert mean.tolist() == [0.25, -1, 0]
    assert luma.item() == pytest.approx(0.5 * 0.299)
    assert [spread.tolist() for spread in spreads] == [[0.5, 0, 0], [0, 0, 0], [0, 0, 0]]
