import numpy as np
import pytest

from training.representation.look import upright

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


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_common_pose_hardly_depends_on_how_a_cell_lay(lobed, quarters, mirrored):
    turned = np.rot90(lobed, quarters, axes=(1, 2))
    turned = turned[:, :, ::-1] if mirrored else turned
    one, other = (upright(np.ascontiguousarray(crops)).astype(float) for crops in (lobed, turned))
    unlike = np.abs(one[1:] - one[:-1]).mean()
    assert np.abs(one - other).mean() < 0.2 * unlike


def test_blank_crop_stays_as_it_is():
    blank = np.full((3, 32, 32, 3), 255, np.uint8)
    assert np.array_equal(upright(blank), blank)
