import numpy as np
import pytest

from app.review.candidates import Candidates, Shape, cell_id
from app.review.queue import KINDS, Wanted, choose


@pytest.fixture
def candidates():
    """Six cells in two clusters, on a line: 0, 1 and 5 in cluster 0; 10, 11 and 18 in cluster 1."""
    features = np.array([[0, 0], [1, 0], [5, 0], [10, 0], [11, 0], [18, 0]], np.float16)
    return Candidates(
        ids=list("abcdef"),
        tiles=["t"] * 6,
        clusters=np.array([0, 0, 0, 1, 1, 1]),
        probabilities=np.full(6, 0.9, np.float32),
        margins=np.array([0.5, 0.1, 0.9, 0.05, 0.8, 0.4], np.float32),
        features=features,
        neighbours=features,
        measured=np.zeros((6, 51), np.float32),
    )


def chosen(candidates, wanted, *rest):
    return "".join(candidates.ids[row] for row in choose(wanted, candidates, *rest))


def test_core_are_those_nearest_to_the_mean_and_clusters_take_turns(candidates):
    assert chosen(candidates, Wanted("core"), ()) == "bead" + "cf"
    assert chosen(candidates, Wanted("core", cluster=1), ()) == "edf"


def test_border_are_those_with_the_smallest_margin(candidates):
    assert chosen(candidates, Wanted("border"), ()) == "bd" + "af" + "ce"
    assert chosen(candidates, Wanted("border", cluster=0), {"b"}) == "ac"


def test_random_ones_are_the_same_for_the_same_seed(candidates):
    orders = {chosen(candidates, Wanted("random", seed=seed), ()) for seed in range(20)}
    assert len(orders) > 10
    assert all(sorted(order) == list("abcdef") for order in orders)
    assert chosen(candidates, Wanted("random", seed=3), ()) == chosen(candidates, Wanted("random", seed=3), ())


def test_uncertain_are_those_whose_best_type_is_least_probable(candidates):
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.5, 0.5], [0.2, 0.8], [0.05, 0.95]])
    assert chosen(candidates, Wanted("uncertain"), {"d"}, (), probabilities) == "bceaf"
    assert chosen(candidates, Wanted("uncertain", type=1), (), (), probabilities) == "cef"
    assert chosen(candidates, Wanted("uncertain"), ()) == ""


def test_disagreed_come_although_they_have_names(candidates):
    assert chosen(candidates, Wanted("disagreed"), {"a", "b"}, {"b", "e", "gone"}) == "be"


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_to_choose_from(kind):
    nothing = Candidates([], [], *(np.zeros(0) for _ in range(3)), *(np.zeros((0, 0)) for _ in range(3)))
    assert len(choose(Wanted(kind), nothing, (), (), np.zeros((0, 2)))) == 0


def test_places_do_not_depend_on_the_unit_of_a_feature(candidates):
    scaled = Shape.of(candidates.features * np.float16(4), candidates.clusters)
    np.testing.assert_allclose(scaled.places, candidates.shape.places, atol=1e-5)
    assert np.isfinite(scaled.distances).all(), "a feature that is the same for all cells tells nothing"


def test_ids_are_those_of_the_cell_of_this_tile_and_bundle():
    found = {cell_id(tile, bundle, number) for tile in "ab" for bundle in "cd" for number in range(3)}
    assert len(found) == 12
    assert all(len(one) == 32 for one in found)
