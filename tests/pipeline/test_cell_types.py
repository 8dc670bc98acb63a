import math

import numpy as np
import pytest

from app.pipeline.cell_classifier import CellClassifier, CellType
from app.pipeline.cell_types import (
    BLOCK,
    NO_TYPE,
    CellTypes,
    classify,
    myeloid_erythroid,
    neighbour_means,
    summarise_types,
)
from tests.cell_classifiers import taught, taught_values

NOTHING = np.zeros((0, 0))
RNG = np.random.default_rng(3)


def two_features(**changes) -> CellClassifier:
    """A classifier of two types by two features, whose answers can be derived by hand."""
    values = {
        "mean": [1.0, 10.0],
        "deviation": [2.0, 5.0],
        "weights": [[1.0, 0.5], [-1.0, 0.0]],
        "bias": [0.25, 0.0],
        "temperature": 2.0,
    }
    return CellClassifier.model_validate(taught_values(2) | values | changes)


def typed(types, n_types=2) -> CellTypes:
    types = np.asarray(types, np.int64)
    return CellTypes(np.full((len(types), n_types), 1 / n_types), types)


def places(n):
    return RNG.uniform(0, 1000, (n, 2))


def test_probabilities_are_those_that_follow_from_the_numbers():
    features = np.array([[5, 0], [1, 10], [-3, 20]], np.float32)
    found = classify(features, np.zeros((3, 0)), places(3), two_features())
    # Standardised: (2, −2), (0, 0), (−2, 2). Logits over the temperature: (2 − 1 + .25, −2) / 2, (.25, 0) / 2, …
    differences = np.array([1.25 + 2, 0.25, (-2 + 1 + 0.25) - 2]) / 2
    np.testing.assert_allclose(found.probabilities[:, 0], 1 / (1 + np.exp(-differences)), rtol=1e-12)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-12)
    assert found.types.tolist() == [0, 0, 1]


def test_cell_of_which_no_type_is_probable_enough_has_none():
    features = np.array([[5, 0], [1, 10], [-3, 20]], np.float32)
    found = classify(features, np.zeros((3, 0)), places(3), two_features(threshold=0.6))
    assert found.types.tolist() == [0, NO_TYPE, 1], "1 / (1 + exp(−.125)) is 0.53"
    just = float(found.probabilities[1].max())
    assert classify(features, np.zeros((3, 0)), places(3), two_features(threshold=just)).types[1] == 0


def test_missing_measurement_counts_as_the_mean_of_the_named_cells():
    classifier = taught(1, measurements=["area"], weights=[[0.0, 1.0], [0.0, -1.0]]).model_copy(
        update={"mean": (0.0, 30.0), "deviation": (1.0, 10.0)}
    )
    measured = np.array([[40.0], [np.nan], [30.0]])
    found = classify(np.zeros((3, 1), np.float32), measured, places(3), classifier)
    np.testing.assert_allclose(found.probabilities[:, 0], [1 / (1 + math.exp(-2)), 0.5, 0.5])


def test_features_that_a_network_gives_too_large_or_not_at_all_leave_no_gap():
    features = np.array([[np.inf, 0], [-np.inf, 0], [np.nan, 0], [3e38, -3e38]], np.float32)
    found = classify(features, np.zeros((4, 0)), places(4), taught(2))
    np.testing.assert_allclose(found.probabilities[:, 0], [1, 0, 0.5, 1])


def test_the_four_nearest_cells_are_neighbours_and_the_cell_itself_is_none():
    centroids = np.array([[0, 0], [1, 0], [2, 0], [3, 0], [4, 0], [100, 0]], float)
    features = np.array([[1], [2], [4], [8], [16], [1000]], np.float32)
    means = neighbour_means(features, centroids)[:, 0]
    assert means[0] == (2 + 4 + 8 + 16) / 4
    assert means[2] == (1 + 2 + 8 + 16) / 4
    assert means[5] == (2 + 4 + 8 + 16) / 4


def test_of_fewer_cells_all_others_are_neighbours_and_a_lone_cell_has_none():
    features = np.array([[1], [2], [6]], np.float32)
    assert neighbour_means(features, places(3))[:, 0].tolist() == [4, 3.5, 1.5]
    assert neighbour_means(features[:2], places(2))[:, 0].tolist() == [2, 1]
    assert np.isnan(neighbour_means(features[:1], places(1))).all()
    assert neighbour_means(features[:0], places(0)).shape == (0, 1)


def test_cell_is_not_its_own_neighbour_where_many_share_its_place():
    features = np.eye(9, dtype=np.float32)
    means = neighbour_means(features, np.zeros((9, 2)))
    assert (np.diag(means) == 0).all()
    np.testing.assert_allclose(means.sum(axis=1), 1)


def test_lone_cell_is_classified_by_itself():
    classifier = taught(1, neighbours=True, weights=[[1.0, 5.0], [-1.0, -5.0]])
    found = classify(np.array([[1]], np.float32), np.zeros((1, 0)), places(1), classifier)
    assert found.probabilities[0, 0] == pytest.approx(1 / (1 + math.exp(-2)))


def test_tile_without_cells_has_no_types():
    found = classify(np.zeros((0, 8), np.float32), np.zeros((0, 0)), places(0), taught(neighbours=True))
    assert (found.probabilities.shape, found.types.shape) == ((0, 2), (0,))
    shares = summarise_types(found, np.zeros(0, bool), taught())
    assert (shares.counts.tolist(), shares.n_without_type) == ([0, 0], 0)
    assert (shares.proportions, shares.intervals) == (None, None)


def test_cells_of_a_slide_are_classified_as_if_at_once():
    n = BLOCK + 3
    features = RNG.normal(size=(n, 2)).astype(np.float32)
    classifier, at = taught(2, neighbours=True, weights=[[1.0, 0, 0.5, 0], [0.0] * 4]), places(n)
    found = classify(features, np.zeros((n, 0)), at, classifier)
    logits = features[:, 0] + 0.5 * neighbour_means(features, at)[:, 0]
    np.testing.assert_allclose(found.probabilities[:, 0], 1 / (1 + np.exp(-logits)), rtol=1e-6)


def test_shares_are_of_the_counted_cells_that_have_a_type():
    types = typed([0, 0, 1, 1, 1, NO_TYPE, 0, NO_TYPE])
    counted = np.array([1, 1, 1, 1, 0, 1, 0, 1], bool)
    shares = summarise_types(types, counted, taught())
    assert (shares.counts.tolist(), shares.n_without_type) == ([2, 2], 2)
    assert shares.proportions.tolist() == [0.5, 0.5]


def test_cells_without_any_type_have_no_proportions():
    shares = summarise_types(typed([NO_TYPE] * 3), np.ones(3, bool), taught())
    assert (shares.counts.tolist(), shares.n_without_type, shares.proportions, shares.intervals) == (
        [0, 0],
        3,
        None,
        None,
    )


@pytest.mark.parametrize("n", [1, 2, 7, 50, 3000])
@pytest.mark.parametrize("confusion", [[[18, 1, 1], [2, 16, 2]], [[0, 20, 0], [20, 0, 0]], [[0, 0, 5], [0, 0, 5]]])
def test_interval_holds_the_proportion_whatever_the_validation_says(n, confusion):
    classifier = taught(confusion=confusion)
    for seed in range(5):
        types = np.random.default_rng(seed).integers(-1, 2, n)
        shares = summarise_types(typed(types), np.ones(n, bool), classifier)
        if shares.proportions is None:
            continue
        low, high = shares.intervals.T
        assert (low >= 0).all()
        assert (high <= 1).all()
        assert (low <= shares.proportions).all()
        assert (shares.proportions <= high).all()


def test_interval_says_what_is_left_after_the_confusion_that_was_measured():
    # Of 1000 cells that were given the first type, 800 were of it; the second type was always right.
    classifier = taught(confusion=[[800, 0, 0], [200, 1000, 0]])
    shares = summarise_types(typed([0] * 5000 + [1] * 5000), np.ones(10000, bool), classifier)
    low, high = shares.intervals[0]
    assert low < 0.4 < high, "half of the cells were given the first type, and four fifths of these are of it"
    assert low > 0.37, "and little doubt is left with so many cells"
    assert high == 0.5, "but the interval holds the proportion"


def test_interval_is_narrower_with_more_cells_and_with_more_named_cells():
    few, many = [[9, 1, 0], [1, 9, 0]], [[900, 100, 0], [100, 900, 0]]

    def width(n, confusion):
        types = typed([0, 1] * (n // 2))
        return np.ptp(summarise_types(types, np.ones(n, bool), taught(confusion=confusion)).intervals[0])

    assert width(2000, many) < width(2000, few)
    assert width(2000, many) < width(20, many)


def test_order_of_the_types_does_not_matter():
    order = [2, 0, 1]
    names = ["pale", "round", "dark"]
    confusion = np.array([[30, 2, 1, 3], [4, 20, 6, 0], [0, 5, 40, 2]])
    types = RNG.integers(-1, 3, 400)

    def shares_of(order):
        values = taught_values()
        values["types"] = [{"name": names[i], "color": "#000000"} for i in order]
        values["weights"] = [values["weights"][0]] * 3
        values["bias"] = [0.0] * 3
        values["validation"]["types"] = [values["validation"]["types"][0]] * 3
        values["validation"]["confusion"] = confusion[order][:, [*order, 3]].tolist()
        place = np.array([*np.argsort(order), NO_TYPE])
        return summarise_types(typed(place[types], 3), np.ones(400, bool), CellClassifier.model_validate(values))

    straight, turned = shares_of([0, 1, 2]), shares_of(order)
    np.testing.assert_array_equal(turned.counts, straight.counts[order])
    np.testing.assert_array_equal(turned.proportions, straight.proportions[order])
    np.testing.assert_array_equal(turned.intervals, straight.intervals[order])


def test_same_cells_have_the_same_interval_again():
    types = typed([0, 0, 1])
    first, again = (summarise_types(types, np.ones(3, bool), taught()).intervals for _ in range(2))
    np.testing.assert_array_equal(first, again)


def marked(*lineages):
    return [CellType(name=f"type {i}", color="#000000", lineage=lineage) for i, lineage in enumerate(lineages)]


def test_myeloid_erythroid_ratio_needs_both_lineages_and_erythroid_cells():
    counts = np.array([6, 3, 2, 100])
    assert myeloid_erythroid(counts, marked("myeloid", "myeloid", "erythroid", None)) == 4.5
    assert myeloid_erythroid(counts, marked("myeloid", None, None, None)) is None
    assert myeloid_erythroid(counts, marked(None, None, "erythroid", None)) is None
    assert myeloid_erythroid(np.array([6, 0]), marked("myeloid", "erythroid")) is None
    assert myeloid_erythroid(np.array([0, 6]), marked("myeloid", "erythroid")) == 0
