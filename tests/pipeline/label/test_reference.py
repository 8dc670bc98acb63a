import numpy as np
import pytest

from app.pipeline.label.reference import place


def test_position_is_measured_along_the_axes_from_the_mean(manifest):
    found = place(np.array([0.5, 0.1, 0.4, 0, 0]), manifest.image_level.reference)
    np.testing.assert_allclose(found.position, [0.3, -0.1])


def test_groups_come_nearest_first_with_their_distance(manifest):
    """Means (.5, .4, .1, 0, 0) and (0, 0, .2, .2, .6)."""
    near, far = place(np.array([0.5, 0.4, 0, 0.1, 0]), manifest.image_level.reference).groups
    assert (near.name, far.name) == ("drawn", "simulated")
    assert near.distance == pytest.approx(np.sqrt(0.02))
    assert far.distance == pytest.approx(np.sqrt(0.25 + 0.16 + 0.04 + 0.01 + 0.36))


@pytest.mark.parametrize(("third", "share"), [(0.1, 0.0), (0.3, 1.0)])
def test_a_tile_is_farther_than_the_members_that_are_nearer_to_their_mean(manifest, third, share):
    """Both members are √.02 from it."""
    proportions = np.array([0.5, 0.5 - third, third, 0, 0])
    (group,) = (g for g in place(proportions, manifest.image_level.reference).groups if g.name == "drawn")
    assert group.farther_than == share
