import numpy as np
import pytest

from app.pipeline.manifest import Reference
from training.label.reference_tiles import MAX_PER_GROUP, fit_reference_tiles


def test_axes_are_the_principal_components_of_all_groups_together():
    random = np.random.default_rng(0)
    groups = {"one": random.dirichlet([9, 3, 3], 30), "other": random.dirichlet([3, 3, 9], 20)}
    found = Reference.model_validate(fit_reference_tiles(groups, frozenset({"other"})))
    rows = np.concatenate(list(groups.values()))
    values, vectors = np.linalg.eigh(np.cov(rows.T))
    np.testing.assert_allclose(np.abs(np.asarray(found.axes) @ vectors[:, :0:-1]), np.eye(2), atol=1e-6)
    np.testing.assert_allclose(found.explained, values[:0:-1] / values.sum(), atol=1e-9)
    np.testing.assert_allclose(found.mean, rows.mean(axis=0))
    assert [(group.name, group.is_simulated, len(group.proportions)) for group in found.groups] == [
        ("one", False, 30),
        ("other", True, 20),
    ]


def test_large_groups_are_thinned_evenly_and_keep_their_ends():
    rows = np.linspace([1, 0, 0], [0, 1, 0], 1001)
    (group,) = fit_reference_tiles({"many": rows})["groups"]
    assert len(group["proportions"]) == MAX_PER_GROUP
    assert (group["proportions"][0], group["proportions"][-1]) == ([1, 0, 0], [0, 1, 0])


@pytest.mark.filterwarnings("ignore:invalid value")
def test_tiles_that_are_all_alike_have_a_place():
    found = Reference.model_validate(fit_reference_tiles({"one": np.full((4, 5), 0.2)}))
    assert found.explained == (0, 0)
