import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from tests.drawing import disc
from training.representation.anchors import anchor_cells, embed, upright

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


def two_kinds():
    """Crops of small dark and large pale nuclei, and the kind of each."""
    random = np.random.default_rng(1)
    kinds = np.tile([0, 1], 60)
    crops = np.full((120, 32, 32, 3), 255, np.uint8)
    for crop, kind in zip(crops, kinds, strict=True):
        inside = disc((32, 32), (15.5, 15.5), (6, 12)[kind])
        crop[inside] = np.clip(random.normal((70, 170)[kind], 12, (inside.sum(), 3)), 0, 249)
    return crops, kinds


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


def test_kinds_become_anchors_whatever_the_seed():
    crops, kinds = two_kinds()
    for seed in (0, 1):
        assert adjusted_rand_score(kinds, anchor_cells(crops, 2, seed)) == 1


def test_anchors_are_numbered_by_their_size():
    crops, _ = two_kinds()
    assert list(np.bincount(anchor_cells(crops[:119], 2, seed=0), minlength=2)) == [60, 59]
