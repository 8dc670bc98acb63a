import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from tests.drawing import disc
from training.anchors import anchor_cells, embed, upright
from training.located import LocatedCells

PURPLE = np.array([110, 60, 150])


@pytest.fixture(scope="module")
def lobed():
    """(24, 32, 32, 3) uint8: nuclei that are long, and darker at one end."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32] - 15.5
    crops = np.full((24, 32, 32, 3), 255, np.uint8)
    for crop in crops:
        long, wide, end = random.uniform(9, 13), random.uniform(4, 7), random.uniform(20, 60)
        inside = (x / long) ** 2 + (y / wide) ** 2 <= 1
        shade = PURPLE + end * (x / long)[inside][:, None] + 10 * (y / wide)[inside][:, None]
        crop[inside] = np.clip(shade + random.normal(0, 4, shade.shape), 0, 249)
    return crops


def two_kinds_in_two_neighbourhoods(*, apart):
    """Small dark and large pale nuclei, `apart` in two corners of each tile, else mixed; and the kind of each."""
    random = np.random.default_rng(1)
    kinds = np.tile([0, 1], 60)
    crops = np.full((120, 32, 32, 3), 255, np.uint8)
    for crop, kind in zip(crops, kinds, strict=True):
        inside = disc((32, 32), (15.5, 15.5), (6, 12)[kind])
        crop[inside] = np.clip(random.normal((70, 170)[kind], 12, (inside.sum(), 3)), 0, 249)
    places = random.uniform(0, 100, (120, 2)) + (300 * kinds[:, None] if apart else 0)
    return LocatedCells(crops, np.repeat([0, 1], 60), places), kinds


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_common_pose_hardly_depends_on_how_a_cell_lay(lobed, quarters, mirrored):
    turned = np.rot90(lobed, quarters, axes=(1, 2))
    turned = turned[:, :, ::-1] if mirrored else turned
    one, other = (upright(np.ascontiguousarray(crops)).astype(float) for crops in (lobed, turned))
    unlike = np.abs(one[1:] - one[:-1]).mean()
    assert np.abs(one - other).mean() < 0.2 * unlike


def test_blank_crop_has_a_pose_and_a_look():
    blank = np.full((3, 32, 32, 3), 255, np.uint8)
    assert np.array_equal(upright(blank), blank)
    assert np.isfinite(embed(blank, seed=0)).all()


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_kinds_become_anchors_whatever_the_seed(weight):
    cells, kinds = two_kinds_in_two_neighbourhoods(apart=True)
    for seed in (0, 1):
        assert adjusted_rand_score(kinds, anchor_cells(cells, 2, weight, seed)) == 1


def test_anchors_are_numbered_by_their_size():
    cells, _ = two_kinds_in_two_neighbourhoods(apart=False)
    sizes = np.bincount(anchor_cells(cells[np.arange(119)], 2, 0.0, seed=0), minlength=2)
    assert list(sizes) == [60, 59]


def test_company_decides_where_looks_do_not():
    """Grey discs of one mean in two corners, in one corner grainy ones among them, in the other plain ones."""
    random = np.random.default_rng(2)
    crops = np.full((80, 32, 32, 3), 255, np.uint8)
    inside = disc((32, 32), (15.5, 15.5), 9)
    corner = np.repeat([0, 1], 40)
    for crop, where in zip(crops, corner, strict=True):
        crop[inside] = np.clip(random.normal((100, 140)[where], 40, 3), 0, 249)
    cells = LocatedCells(crops, np.zeros(80, np.int64), corner[:, None] * 500 + random.uniform(0, 50, (80, 2)))
    agreement = [adjusted_rand_score(corner, anchor_cells(cells, 2, weight, seed=0)) for weight in (0.0, 4.0)]
    assert agreement[1] > 0.9 > agreement[0] + 0.3
