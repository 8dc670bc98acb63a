from dataclasses import replace

import numpy as np
import pytest
import torch

from training.segmenter.views import SYMMETRIES, LessonSampler, restain, view, view_back


@pytest.fixture
def config(segmenter_config):
    return segmenter_config


def test_the_eight_views_differ_and_are_undone_exactly():
    image = torch.arange(2 * 3 * 5).reshape(2, 3, 5)
    views = [view(image, symmetry) for symmetry in SYMMETRIES]
    assert len({(tuple(each.shape), tuple(each.flatten().tolist())) for each in views}) == 8
    for symmetry, each in zip(SYMMETRIES, views, strict=True):
        assert torch.equal(view_back(each, symmetry), image)


def test_white_keeps_its_colour_and_a_factor_of_two_squares_the_transmission():
    tiles = torch.tensor([1.0, 0.5, 0.25]).reshape(1, 3, 1, 1)
    assert restain(tiles, torch.tensor(2.0)).flatten().tolist() == pytest.approx([1, 0.25, 0.0625])


def test_labels_follow_the_tile_through_every_view(config):
    """Where the tile is dark the label says nucleus, at any place, scale and turn."""
    nucleus = np.kron(np.random.default_rng(0).integers(0, 2, (12, 12)), np.ones((8, 8))).astype(np.uint8) * 255
    lesson = np.dstack([255 - nucleus] * 3 + [nucleus, nucleus, np.zeros_like(nucleus), np.zeros_like(nucleus)])
    calm = replace(config, drawn_share=0, density_range=(0, 0), channel_jitter=0, blur_share=0, max_noise=0)
    tiles, labels = LessonSampler([[lesson]], calm, torch.Generator().manual_seed(0))()
    assert tiles.shape == (calm.batch_size, 3, calm.crop_px, calm.crop_px)
    assert labels.shape == (calm.batch_size, 4, calm.crop_px, calm.crop_px)
    # The darkest transmission is 1/256 and not 0.
    torch.testing.assert_close((tiles[:, 0] + 1) / 2, 1 - labels[:, 0], atol=0.005, rtol=0)


def test_every_folder_is_drawn_equally_often(config):
    def lesson(value):
        return np.full((64, 64, 7), value, np.uint8)

    sampler = LessonSampler(
        [[lesson(0)] * 9, [lesson(255)]], replace(config, drawn_share=0), torch.Generator().manual_seed(0)
    )
    drawn = torch.cat([sampler()[1][:, 0, 0, 0] for _ in range(100)])
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.1)


def test_a_tile_smaller_than_a_square_is_filled_with_white_background(config):
    lesson = np.full((10, 10, 7), 255, np.uint8)
    lesson[..., :3] = 0
    calm = replace(config, drawn_share=0, density_range=(0, 0), channel_jitter=0, blur_share=0, max_noise=0)
    tiles, labels = LessonSampler([[lesson]], calm, torch.Generator().manual_seed(0))()
    assert labels[:, 0].mean() < 0.5
    torch.testing.assert_close((tiles[:, 0] + 1) / 2, 1 - labels[:, 0], atol=0.005, rtol=0)


def test_drawn_tiles_are_learned_from_in_their_share(config):
    """The one real tile has no nucleus, so each square with a nucleus is drawn."""
    white = np.zeros((64, 64, 7), np.uint8)
    white[..., :3] = 255
    sampler = LessonSampler([[white]], replace(config, drawn_share=0.5), torch.Generator().manual_seed(0))
    has_nucleus = torch.cat([sampler()[1][:, 0].amax(dim=(1, 2)) > 0 for _ in range(100)]).float()
    # A drawn square may lie beside its nuclei.
    assert 0.3 < has_nucleus.mean().item() <= 0.55
