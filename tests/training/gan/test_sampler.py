import numpy as np
import torch

from app.pipeline.crops import to_network
from training.gan.sampler import CropSampler, mirror, rotate, shift, tint
from training.representation.encoder import DARKEST


def rotations(crop):
    return [torch.rot90(crop, quarter, dims=(1, 2)) for quarter in range(4)]


def test_each_crop_is_turned_by_its_own_multiple_of_90_degrees():
    batch = torch.rand(200, 3, 8, 8)
    turned = rotate(batch, torch.Generator().manual_seed(0))
    pairs = zip(batch, turned, strict=True)
    turns = [[torch.equal(after, way) for way in rotations(before)].index(True) for before, after in pairs]
    assert min(np.bincount(turns, minlength=4)) > 25


def test_gradients_find_their_way_back_through_a_turn():
    batch = torch.rand(6, 3, 4, 4, requires_grad=True)
    weight = torch.zeros(6, 3, 4, 4)
    weight[:, :, 0, 0] = 1
    (rotate(batch, torch.Generator().manual_seed(3)) * weight).sum().backward()
    corners = batch.grad[:, :, ::3, ::3]
    assert torch.equal(corners.sum(dim=(2, 3)), torch.ones(6, 3))
    assert batch.grad.sum() == corners.sum()


def test_batches_hold_crops_of_the_set_or_their_rotations():
    crops = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
    known = {
        way.numpy().tobytes(): i for i, crop in enumerate(to_network(crops)) for way in rotations(torch.tensor(crop))
    }
    sample = CropSampler(crops, 64, torch.Generator().manual_seed(0), torch.device("cpu"))
    drawn = torch.cat([sample() for _ in range(4)])
    assert drawn.shape == (256, 3, 32, 32)
    assert drawn.dtype == torch.float32
    found = [known[cell.contiguous().numpy().tobytes()] for cell in drawn]
    assert min(np.bincount(found, minlength=7)) > 15


def test_same_generator_gives_the_same_batches(cells):
    first, again, other = (
        CropSampler(cells.crops, 8, torch.Generator().manual_seed(seed), torch.device("cpu")) for seed in (1, 1, 2)
    )
    for _ in range(3):
        batch = first()
        assert torch.equal(batch, again())
        assert not torch.equal(batch, other())


def test_half_the_crops_are_mirrored():
    batch = torch.rand(400, 3, 4, 4)
    mirrored = mirror(batch, torch.Generator().manual_seed(0))
    ways = [
        [torch.equal(after, before), torch.equal(after, before.flip(2))]
        for before, after in zip(batch, mirrored, strict=True)
    ]
    assert all(map(any, ways))
    assert 150 < sum(same for same, _ in ways) < 250


def test_tint_scales_optical_density_of_each_channel_by_one_factor():
    transmission = torch.rand(5, 3, 8, 8, dtype=torch.float64) * 0.9 + 0.05
    tinted = (tint(transmission * 2 - 1, 0.3, torch.Generator().manual_seed(1)) + 1) / 2
    factor = tinted.log() / transmission.log()
    assert torch.allclose(factor, factor[:, :, :1, :1].expand_as(factor))
    assert factor.std() > 0.1


def test_tint_leaves_white_white_and_black_finite():
    batch = torch.tensor([-1.0, 1.0]).reshape(1, 1, 1, 2).expand(4, 3, 1, 2)
    tinted = tint(batch, 0.5, torch.Generator().manual_seed(1))
    assert torch.equal(tinted[..., 1], batch[..., 1])
    assert tinted.isfinite().all()
    assert torch.equal(tint(batch, 0.0, torch.Generator())[..., 1], batch[..., 1])


def shifted(crop, down, right):
    """The crop as it looks from a place so many pixels further down and right; its edges are repeated."""
    size = crop.shape[-1]
    rows, columns = ((np.arange(size) + by).clip(0, size - 1) for by in (down, right))
    return crop[:, rows][:, :, columns]


def test_each_crop_is_shifted_by_whole_pixels_of_its_own():
    batch = torch.rand(300, 7, 5, 5)
    moved = shift(batch, 2, torch.Generator().manual_seed(0))
    steps = [(down, right) for down in range(-2, 3) for right in range(-2, 3)]
    found = [
        [torch.equal(after, shifted(before, *step)) for step in steps].index(True)
        for before, after in zip(batch, moved, strict=True)
    ]
    assert min(np.bincount(found, minlength=25)) > 0


def test_no_shift_is_no_change_and_draws_nothing():
    batch, random = torch.rand(4, 3, 5, 5), torch.Generator().manual_seed(0)
    before = random.get_state()
    assert shift(batch, 0, random) is batch
    assert torch.equal(random.get_state(), before)


def test_gradients_find_their_way_back_through_a_shift():
    """Every pixel that is shown, that of a repeated edge too, sends its gradient to where it comes from."""
    batch = torch.rand(6, 2, 5, 5, requires_grad=True)
    weight = torch.rand(6, 2, 5, 5)
    moved = shift(batch, 2, torch.Generator().manual_seed(3))
    (moved * weight).sum().backward()
    # What is linear is the sum of its gradients times its inputs.
    assert torch.allclose((batch.grad * batch).sum(), (moved * weight).sum())
    assert torch.allclose(batch.grad.sum(dim=(2, 3)), weight.sum(dim=(2, 3)))


def test_tint_of_three_channels_is_that_of_the_density_alone():
    """To the last bit what it was before crops could have more channels."""
    batch = torch.rand(5, 3, 8, 8) * 2 - 1
    random = torch.Generator().manual_seed(1)
    shared, channel = torch.randn((5, 1, 1, 1), generator=random), torch.randn((5, 3, 1, 1), generator=random)
    plain = ((batch + 1) / 2).clamp_min(DARKEST) ** torch.exp(0.3 * (shared + channel)) * 2 - 1
    assert torch.equal(tint(batch, 0.3, torch.Generator().manual_seed(1)), plain)


def test_tint_treats_nucleus_and_surroundings_alike_and_leaves_the_mask():
    picture, mask = torch.rand(5, 3, 8, 8) * 2 - 1, torch.rand(5, 1, 8, 8) * 2 - 1
    crops = torch.cat([picture, picture.flip(2), mask], dim=1)
    tinted = tint(crops, 0.3, torch.Generator().manual_seed(1))
    assert torch.equal(tinted[:, :3], tint(picture, 0.3, torch.Generator().manual_seed(1)))
    assert torch.equal(tinted[:, 3:6], tinted[:, :3].flip(2))
    assert torch.equal(tinted[:, 6:], mask)


def test_drawn_cells_are_as_they_were_cut_and_known_by_their_indices():
    crops = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 7), dtype=np.uint8)
    sample = CropSampler(crops, 40, torch.Generator().manual_seed(0), torch.device("cpu"))
    batch, chosen = sample.draw()
    assert set(chosen.tolist()) == {*range(7)}
    assert torch.equal(batch, torch.from_numpy(to_network(crops))[chosen])
