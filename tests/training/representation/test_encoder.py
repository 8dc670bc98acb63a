import math
from dataclasses import replace

import pytest
import torch

from tests.drawing import disc
from training.representation.encoder import LARGEST_NEAR_PX, contrastive_loss, views


@pytest.fixture
def still(encoder_config):
    """A configuration under which only the eight symmetries are left."""
    none = dict.fromkeys(("max_turn_degrees", "scale_jitter", "shift", "density_jitter"), 0.0)
    return replace(encoder_config, **none, grey_share=0.0, blur_share=0.0, near_share=0.0)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def surroundings(n, seed=0):
    """Cells of random colours, the mask of each a disc of a radius of 5 px: (n, 7, 32, 32) in [-1, 1]."""
    batch = torch.rand((n, 7, 32, 32), generator=seeded(seed)) * 1.6 - 0.8
    batch[:, 6] = torch.from_numpy(disc((32, 32), (15.5, 15.5), 5)).float() * 2 - 1
    return batch


@pytest.mark.parametrize("channels", [3, 7])
def test_white_stays_white_in_every_view(encoder_config, channels):
    everything = replace(encoder_config, grey_share=0.5, blur_share=0.5, near_share=0.5, density_jitter=1.0)
    white = torch.ones(64, channels, 32, 32)
    torch.testing.assert_close(views(white, everything, seeded()), white)


@pytest.mark.parametrize("channels", [3, 7])
def test_views_are_in_range_differ_and_come_again_from_the_same_seed(encoder_config, channels):
    cells = surroundings(16)[:, :channels]
    one, other, again = (views(cells, encoder_config, seeded(seed)) for seed in (1, 2, 1))
    assert one.shape == cells.shape
    assert one.dtype == torch.float32
    assert one.abs().max() <= 1 + 1e-6
    assert torch.equal(one, again)
    assert all((a - b).abs().mean() > 0.01 for a, b in zip(one, other, strict=True))


def test_black_pixels_get_paler_and_darker_like_others(still):
    black = torch.full((64, 3, 32, 32), -1.0)
    seen = views(black, replace(still, density_jitter=1.0), seeded())
    assert seen.isfinite().all()
    assert seen.max() > -0.9


def test_all_eight_symmetries_occur_and_turn_every_channel_alike(still):
    cells = surroundings(1).expand(400, -1, -1, -1)
    ways = [torch.rot90(cell, quarter, (1, 2)) for cell in (cells[0], cells[0].flip(2)) for quarter in range(4)]
    found = [
        [torch.allclose(view, way, atol=1e-4) for way in ways].index(True) for view in views(cells, still, seeded())
    ]
    assert min(torch.bincount(torch.tensor(found), minlength=8)) > 25


def test_mask_is_posed_with_the_pictures_and_never_coloured(encoder_config):
    """The nucleus is dark where the mask is bright, also after a turn, a shift, another stain and without colour."""
    config = replace(encoder_config, density_jitter=0.3, grey_share=0.5, blur_share=0.0, near_share=0.0)
    mask = torch.from_numpy(disc((32, 32), (12, 19), 6)).float() * 2 - 1
    cells = torch.cat([-0.5 * mask.expand(6, -1, -1) + 0.5, mask[None]]).expand(64, -1, -1, -1)
    seen = views(cells, config, seeded())
    calm = views(cells, replace(config, density_jitter=0.0, grey_share=0.0), seeded())
    torch.testing.assert_close(seen[:, 6], calm[:, 6])
    assert (seen[:, :6] - calm[:, :6]).abs().amax(dim=(1, 2, 3)).min() > 0.001
    outside, inside = seen[:, 6] < -0.999, seen[:, 6] > 0.999
    for picture in seen[:, :6].unbind(1):
        assert picture[outside].min() > 0.99
        assert picture[inside].max() < 0.9


def test_stain_is_one_factor_on_optical_density_for_both_pictures(still):
    cells = surroundings(2000)
    cells[:, 3:6] = cells[:, :3]
    cells[:, :, :, :] = cells[:, :, :1, :1]  # even, so that no symmetry shows
    stained = views(cells, replace(still, density_jitter=0.2), seeded())
    torch.testing.assert_close(stained[:, :3], stained[:, 3:6])
    torch.testing.assert_close(stained[:, 6], cells[:, 6])
    factors = (((stained + 1) / 2).log() / ((cells + 1) / 2).log())[:, :3, 0, 0].log()
    # Of each channel: 0.2 · 0.58 · √(1 + 1/4). What two channels share: 1 of 1.25 parts of the variance.
    assert factors.std(dim=0).tolist() == pytest.approx([0.2 * 0.58 * math.sqrt(1.25)] * 3, rel=0.1)
    assert torch.corrcoef(factors.T)[0, 1].item() == pytest.approx(0.8, abs=0.05)


def test_grey_and_blurred_views_have_no_colour_and_no_grain(still):
    cells = surroundings(8)
    grey = views(cells, replace(still, grey_share=1.0), seeded())
    for picture in (grey[:, :3], grey[:, 3:6]):
        torch.testing.assert_close(picture, picture[:, :1].expand_as(picture))
    assert (grey[:, 0] - grey[:, 3]).abs().mean() > 0.1
    # The mean of nine independent values varies a third as much as one.
    blurred = views(cells, replace(still, blur_share=1.0), seeded())
    assert (blurred[:, :6].std() / cells[:, :6].std()).item() == pytest.approx(1 / 3, rel=0.1)


def test_near_view_hides_what_is_far_from_the_nucleus(still):
    cells = surroundings(200).clamp_max(0.5)
    near = views(cells, replace(still, near_share=1.0), seeded())
    far = views(cells, still, seeded())
    mask = near[:, 6:]
    torch.testing.assert_close(near[:, :3].sum(dim=(2, 3)), cells[:, :3].sum(dim=(2, 3)), rtol=1e-3, atol=0.1)
    hidden = near[:, 3:6] > 0.99
    assert not (far[:, 3:6] > 0.99).any()
    touching, beyond = (
        torch.nn.functional.max_pool2d(mask, 2 * px + 1, stride=1, padding=px) > 0 for px in (1, LARGEST_NEAR_PX)
    )
    assert not hidden[touching.expand_as(hidden)].any()
    assert hidden[~beyond.expand_as(hidden)].all()
    # Every distance from 1 to 8 px occurs.
    assert len({int(each.sum()) for each in hidden[:, 0]}) == LARGEST_NEAR_PX


def test_loss_of_views_equals_a_hand_derived_value():
    """Two cells at right angles, whose views are the same but for their length, at temperature 1/2.

    Each view has a similarity of 2 with its own cell's other view, and of 0 with both views of the other cell.
    """
    one = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    two = torch.tensor([[1.0, 0.0], [0.0, 5.0]])
    expected = -math.log(math.exp(2) / (math.exp(2) + 2))
    assert contrastive_loss(one, two, 0.5).item() == pytest.approx(expected)
    # Views that are swapped between the cells: a similarity of 0 with the right one, of 2 and 0 with the wrong ones.
    swapped = -math.log(1 / (math.exp(2) + 2))
    assert contrastive_loss(one, two.flip(0), 0.5).item() == pytest.approx(swapped)


def test_loss_is_computed_in_32_bits():
    one, two = torch.rand((2, 8, 4), generator=seeded()).to(torch.bfloat16)
    loss = contrastive_loss(one, two, 0.2)
    assert loss.dtype == torch.float32
    assert loss.item() == contrastive_loss(one.float(), two.float(), 0.2).item()
