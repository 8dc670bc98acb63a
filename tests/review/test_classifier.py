"""What is learned from named cells whose right types are known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.pipeline.cell_classifier import LearningPoint
from app.pipeline.cell_types import NO_TYPE, classify
from app.pipeline.measure.table import INDEX, MEASUREMENTS
from app.review.classifier import MIN_GAIN, Inputs, deal, expected_gain
from app.review.named_cells import InvalidNamedCells
from tests.review.named import drawn, taught


def given_types(classifier, named):
    """Types by `classify`, as in an answer; no neighbours."""
    measured = named.measured[:, [INDEX[name] for name in classifier.measurements]]
    return classify(named.features, measured, np.zeros((len(named), 2)), classifier)


def without_time(classifier):
    return classifier.model_dump(exclude={"source": {"created"}})


def test_separate_types_are_learned_and_given_to_cells_never_seen():
    classifier = taught(drawn(distance=8))
    assert [one.name for one in classifier.types] == ["dark", "large"]
    new = drawn(distance=8, seed=1)
    found = given_types(classifier, new)
    assert (found.types == new.types).mean() == 1
    validation = classifier.validation
    assert (validation.held_out, validation.groups, validation.cells, validation.folds) == ("tiles", 8, 200, 5)
    assert (validation.accuracy, validation.optimistic, classifier.threshold) == (1, False, 0)
    assert validation.confusion == ((100, 0, 0), (0, 100, 0))
    assert [(one.n, one.precision, one.recall, one.f) for one in validation.types] == [(100, 1, 1, 1)] * 2
    assert [point.cells for point in validation.learning_curve] == [40, 81, 160]
    assert validation.gain_of_50 == 0
    assert (classifier.source.cells, classifier.source.tiles, classifier.source.reviewers) == (200, 8, 0)


def test_accuracy_on_groups_left_out_is_that_on_new_cells():
    named = drawn(400, 3, distance=1.5)
    classifier = taught(named)
    new = drawn(4000, 3, distance=1.5, seed=1)
    found = given_types(classifier, new).probabilities.argmax(axis=1)
    assert (found == new.types).mean() == pytest.approx(classifier.validation.accuracy, abs=0.05)
    assert classifier.validation.calibration_error_after < 0.1


def test_probabilities_are_those_of_new_cells():
    classifier = taught(drawn(1000, 2, distance=1.2))
    new = drawn(5000, 2, distance=1.2, seed=1)
    found = given_types(classifier, new).probabilities
    right = found.argmax(axis=1) == new.types
    assert found.max(axis=1).mean() == pytest.approx(right.mean(), abs=0.04)


def test_without_a_type_are_the_cells_that_are_most_often_wrong():
    classifier = taught(drawn(600, 2, distance=1.2))
    assert classifier.threshold > 0.5
    new = drawn(6000, 2, distance=1.2, seed=1)
    found = given_types(classifier, new)
    is_typed = found.types != NO_TYPE
    wrong = found.probabilities.argmax(axis=1) != new.types
    assert 0.5 < is_typed.mean() < 1
    assert wrong[is_typed].mean() < 0.65 * wrong.mean()
    confusion = np.array(classifier.validation.confusion)
    assert confusion[:, -1].sum() > 0
    assert confusion.sum() == classifier.validation.cells


def test_features_that_say_nothing_teach_nothing():
    classifier = taught(drawn(400, distance=0))
    assert classifier.validation.accuracy == pytest.approx(0.5, abs=0.1)
    assert not classifier.neighbours


def test_measurements_and_neighbours_are_used_where_they_help_and_only_there():
    named = drawn(400, distance=1)
    assert not taught(named).measurements
    telling = np.where(named.types == 0, 0.0, 4.0)[:, None]
    measured = named.measured.copy()
    measured[:, [INDEX["area"]]] += telling
    measured[::2, INDEX["solidity"]] = np.nan
    measured[::3, INDEX["solidity"]] = np.nan  # known for less than half of the cells
    of_area = taught(replace(named, measured=measured))
    assert "area" in of_area.measurements
    assert "solidity" not in of_area.measurements
    assert len(of_area.mean) == 6 + len(MEASUREMENTS) - 1
    of_neighbours = taught(replace(named, neighbour_features=named.neighbour_features + telling))
    assert of_neighbours.neighbours
    assert of_neighbours.validation.accuracy > taught(named).validation.accuracy + MIN_GAIN


def test_numbers_are_in_the_order_in_which_they_are_classified():
    named = drawn(20)
    numbers = Inputs((3, 1), neighbours=True).numbers(named)
    np.testing.assert_array_equal(
        numbers, np.hstack([named.features, named.neighbour_features, named.measured[:, [3, 1]]])
    )


def test_the_order_of_cells_changes_nothing():
    named = drawn(150, 3, distance=1.5)
    expected = without_time(taught(named))
    assert without_time(taught(named)) == expected, "and the same cells give the same"
    assert without_time(taught(named.select(np.random.default_rng(0).permutation(150)))) == expected


def test_the_order_of_cells_of_one_tile_changes_nothing():
    named = drawn(60, 2, distance=1.5, n_groups=1)
    expected = without_time(taught(named))
    assert without_time(taught(named.select(np.random.default_rng(0).permutation(60)))) == expected


def test_the_unit_of_a_feature_changes_no_type():
    named = drawn(150, 3, distance=1.5)
    changed = replace(named, features=named.features * np.float32(1000) + np.float32(5))
    expected, found = given_types(taught(named), named), given_types(taught(changed), changed)
    np.testing.assert_array_equal(found.types, expected.types)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-3)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), min_size=10, max_size=60))
def test_no_cell_is_judged_by_its_group_or_without_its_type(cells):
    groups, types = np.array(cells).T
    named = replace(drawn(len(cells), 3), groups=groups, types=types)
    folds = deal(named, 0)
    for i in np.flatnonzero(folds.is_judged):
        rest = folds.of_cell != folds.of_cell[i]
        if folds.are_groups:
            assert not (rest & (groups == groups[i])).any()
            assert types[i] in types[rest]
            assert len(np.unique(types[rest])) >= 2


@pytest.mark.parametrize("n_groups", [1, 2])
def test_with_fewer_than_three_groups_the_figures_are_called_optimistic(n_groups):
    validation = taught(drawn(n_groups=n_groups)).validation
    assert (validation.optimistic, validation.groups, validation.cells, validation.folds) == (True, n_groups, 200, 5)


def test_a_type_of_a_single_group_has_no_figures():
    named = drawn(90, 3, distance=8)
    groups = np.where(named.types == 2, 0, named.groups)
    classifier = taught(replace(named, groups=groups))
    assert [one.n for one in classifier.validation.types] == [30, 30, 0]
    assert classifier.validation.types[2].f is None
    assert classifier.validation.confusion[2] == (0, 0, 0, 0)
    assert (classifier.validation.cells, classifier.validation.optimistic) == (60, False)
    assert (given_types(classifier, named).types == named.types).all(), "it is learned, nevertheless"


def test_types_of_separate_groups_are_judged_by_cells_and_optimistic():
    named = drawn(90, 3, distance=8)
    validation = taught(replace(named, groups=named.types)).validation
    assert (validation.optimistic, validation.cells, validation.groups) == (True, 90, 3)


def test_patients_and_slides_are_named():
    assert taught(drawn(group_kind="patients")).validation.held_out == "patients"


def test_expected_gain_is_that_of_the_curve():
    """F = .9 − 1 / √n: 100 named cells, and 50 more."""
    curve = [LearningPoint(cells=n, f=0.9 - n**-0.5) for n in (20, 40, 80)]
    assert expected_gain(curve, 100) == pytest.approx(100**-0.5 - 150**-0.5)
    assert expected_gain(curve[:1] * 3, 100) is None
    falling = [LearningPoint(cells=n, f=0.5 + n**-0.5) for n in (20, 40, 80)]
    assert expected_gain(falling, 100) == 0
    steep = [LearningPoint(cells=n, f=1 - 4 * n**-0.5) for n in (16, 64, 10**6)]
    assert expected_gain(steep, 16) <= 1 - steep[-1].f


def test_missing_and_infinite_numbers_are_no_obstacle():
    named = drawn(60, distance=6)
    features, near = named.features.copy(), named.neighbour_features.copy()
    features[0, 3], near[:10] = np.inf, np.nan
    classifier = taught(replace(named, features=features, neighbour_features=near))
    assert classifier.validation.accuracy > 0.9


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (drawn(9), "9 cells are named; at least 10 are needed"),
        (replace(drawn(12), types=np.zeros(12, np.int64), type_names=("dark",)), "have the one type 'dark'"),
        (replace(drawn(12), types=np.repeat([0, 1], [8, 4])), r"Fewer than 5 cells have the type 'large' \(4\)"),
        (
            replace(drawn(330), types=np.arange(330) % 33, type_names=tuple(f"type {i}" for i in range(33))),
            "33 types; at most 32",
        ),
    ],
)
def test_too_little_to_learn_from_is_refused(named, message):
    with pytest.raises(InvalidNamedCells, match=message):
        taught(named)


def test_all_cells_are_learned_from_where_a_sample_chooses():
    named = drawn(4000, 4, distance=1.5, n_features=16)
    classifier = taught(named)
    assert classifier.source.cells == classifier.validation.cells == 4000
    assert classifier.validation.accuracy > 0.5
