import numpy as np
import pytest

from app.pipeline.label.decide import decide_label, describe_tile, possible_labels
from app.pipeline.manifest import Calibration, ImageLevel, LabelCounts, Svm
from tests.descriptors import with_area

ALL_IN_0 = np.array([1.0, 0, 0, 0, 0])
"""Score .75."""


def with_limits(model: ImageLevel, max_normal, min_abnormal) -> ImageLevel:
    conformal = model.conformal.model_copy(update={"max_normal": max_normal, "min_abnormal": min_abnormal})
    return model.model_copy(update={"conformal": conformal})


def test_contributions_and_bias_sum_to_the_score(manifest):
    # weights (1, −1, 2, 0, 0.5), bias −0.25
    evidence = decide_label(np.array([0.2, 0.1, 0.3, 0.3, 0.1]), 100, manifest.image_level).evidence
    np.testing.assert_allclose(evidence.contributions, [0.2, -0.1, 0.6, 0.0, 0.05])
    assert evidence.score == pytest.approx(0.5)
    assert evidence.contributions.sum() + manifest.image_level.svm.bias == pytest.approx(evidence.score, abs=1e-12)


@pytest.mark.parametrize(
    ("proportions", "score", "value"),
    [
        ([1, 0, 0, 0, 0], 0.75, "abnormal"),
        ([0, 1, 0, 0, 0], -1.25, "normal"),
        ([0.25, 0, 0, 0.75, 0], 0.0, "normal"),
    ],
)
def test_label_is_abnormal_above_zero_only(manifest, proportions, score, value):
    label = decide_label(np.array(proportions, float), 100, manifest.image_level)
    assert label.evidence.score == pytest.approx(score)
    assert label.value == value


@pytest.mark.parametrize(
    ("proportions", "kmeans"),
    [([0.6, 0, 0, 0, 0.4], "abnormal"), ([0.4, 0, 0, 0, 0.6], "normal"), ([0, 0, 0.8, 0, 0.2], "normal")],
)
def test_kmeans_takes_the_nearest_centre(manifest, proportions, kmeans):
    assert decide_label(np.array(proportions, float), 100, manifest.image_level).evidence.kmeans == kmeans


def test_disagreement_with_kmeans_far_from_the_boundary_is_said(manifest):
    label = decide_label(np.array([0, 0, 0.5, 0, 0.5]), 100, manifest.image_level)
    assert (label.value, label.evidence.kmeans) == ("abnormal", "normal")
    assert "gives normal" in label.reason


@pytest.mark.parametrize(
    ("score", "max_normal", "min_abnormal", "possible"),
    [
        (0.0, 0.1, 0.2, ("normal",)),
        (0.1, 0.1, 0.2, ("normal",)),
        (0.15, 0.1, 0.2, ()),
        (0.2, 0.1, 0.2, ("abnormal",)),
        (0.15, 0.2, 0.1, ("normal", "abnormal")),
        (5.0, None, 0.2, None),
        (-5.0, 0.1, None, None),
    ],
)
def test_a_label_is_possible_on_its_side_of_its_limit(manifest, score, max_normal, min_abnormal, possible):
    model = with_limits(manifest.image_level, max_normal, min_abnormal)
    model = model.model_copy(update={"svm": Svm(weights=(0.0,) * 5, bias=score)})
    assert possible_labels(ALL_IN_0, model) == possible


def test_a_label_is_possible_if_one_svm_that_left_out_a_unit_of_it_says_so(manifest):
    """The lowest score without a normal unit counts for normal, the highest without an abnormal one for abnormal."""
    model = with_limits(manifest.image_level, 0.1, 0.2)
    scoring = {value: Svm(weights=(0.0,) * 5, bias=value) for value in (0.1, 0.15, 0.2, 0.3)}

    def possible(without_a_normal, without_an_abnormal):
        svms = {
            "without_a_normal": tuple(scoring[value] for value in without_a_normal),
            "without_an_abnormal": tuple(scoring[value] for value in without_an_abnormal),
        }
        conformal = model.conformal.model_copy(update=svms)
        return possible_labels(ALL_IN_0, model.model_copy(update={"conformal": conformal}))

    assert possible([0.3, 0.1], [0.15]) == ("normal",)
    assert possible([0.3, 0.15], [0.15]) == ()
    assert possible([0.3], [0.15, 0.2]) == ("abnormal",)
    assert possible([0.1, 0.3], [0.2, 0.1]) == ("normal", "abnormal")


def test_too_few_units_give_no_set_and_no_label(manifest):
    """The score is far above what normal tiles have, but what abnormal ones have is not known."""
    model = with_limits(manifest.image_level, 0.1, None)
    n_units = {"n_units": LabelCounts(normal=12, abnormal=5), "units": "patients"}
    model = model.model_copy(update={"conformal": model.conformal.model_copy(update=n_units)})
    label = decide_label(ALL_IN_0, 100, model)
    assert (label.value, label.evidence.conformal) == ("indeterminate", None)
    assert "needs 9 patients of each label" in label.reason
    assert "12 normal and 5 abnormal ones" in label.reason


def test_no_label_where_both_are_possible(manifest):
    label = decide_label(ALL_IN_0, 100, with_limits(manifest.image_level, 1.0, -1.0))
    assert label.value == "indeterminate"
    assert label.evidence.conformal == ("normal", "abnormal")
    assert "90% coverage both labels are possible." in label.reason


@pytest.mark.parametrize(
    ("proportions", "value"), [([1, 0, 0, 0, 0], "abnormal"), ([0, 0, 0.5, 0, 0.5], "indeterminate")]
)
def test_between_the_limits_kmeans_must_agree(manifest, proportions, value):
    """Scores .75 and 1, both above 0 and below what abnormal ones have; k-means gives abnormal and normal."""
    label = decide_label(np.array(proportions), 100, with_limits(manifest.image_level, 0.1, 2.0))
    assert label.evidence.conformal == ()
    assert label.value == value


def test_no_label_where_the_svm_says_what_the_examples_do_not(manifest):
    """Score .75 is above 0, but normal examples reach 1 and abnormal ones begin at 2."""
    label = decide_label(ALL_IN_0, 100, with_limits(manifest.image_level, 1.0, 2.0))
    assert label.evidence.conformal == ("normal",)
    assert label.value == "indeterminate"


@pytest.mark.parametrize(("n_cells", "value"), [(9, "indeterminate"), (10, "abnormal"), (11, "abnormal")])
def test_too_few_cells_give_no_label_but_keep_their_numbers(manifest, n_cells, value):
    label = decide_label(ALL_IN_0, n_cells, manifest.image_level)
    assert label.value == value
    assert label.evidence.score == pytest.approx(0.75)
    assert label.evidence.kmeans == "abnormal"
    assert str(n_cells) in label.reason
    if value == "indeterminate":
        assert "10" in label.reason


def test_no_cells_give_no_label_and_no_numbers(manifest):
    label = decide_label(None, 0, manifest.image_level, ["It is white."])
    assert (label.value, label.evidence) == ("indeterminate", None)
    assert label.reason.endswith("It is white.")


def test_every_doubt_is_named_and_prevents_a_label(manifest):
    label = decide_label(ALL_IN_0, 3, manifest.image_level, ["It is blurred.", "It is grey."])
    assert label.value == "indeterminate"
    assert label.reason == "3 cells were counted; a label needs at least 10. It is blurred. It is grey."
    assert label.evidence.score == pytest.approx(0.75)


def test_probability_is_platts_sigmoid_of_the_score(manifest):
    tiles = {"normal": 30, "abnormal": 25}
    calibration = Calibration(slope=2.0, intercept=-0.5, tiles=tiles)
    model = manifest.image_level.model_copy(update={"calibration": calibration})
    # Score .75: log odds 2 · .75 − .5 = 1.
    assert decide_label(ALL_IN_0, 100, model).evidence.probability == pytest.approx(1 / (1 + np.exp(-1)))
    assert decide_label(ALL_IN_0, 100, model, ["It is blurred."]).evidence.probability is None
    assert decide_label(ALL_IN_0, 100, manifest.image_level).evidence.probability is None
    steep = model.model_copy(update={"calibration": Calibration(slope=1e5, intercept=0, tiles=tiles)})
    assert decide_label(ALL_IN_0, 100, steep).evidence.probability == 1


def test_measurements_contribute_beside_the_clusters_and_all_add_up_to_the_score(manifest):
    model = with_area(manifest.image_level, 0.5)
    label = decide_label(ALL_IN_0, 100, model, medians={"area_um2": 26.0})
    evidence = label.evidence
    # Weight .5 times (26 − 20) / 4.
    (area,) = evidence.measurements
    assert (area.measurement, area.title, area.value) == ("area_um2", "Nuclear area", 26.0)
    assert area.contribution == pytest.approx(0.75)
    assert evidence.contributions.tolist() == [1, 0, 0, 0, 0]
    assert evidence.score == pytest.approx(0.75 + 0.75)
    assert evidence.score == pytest.approx(evidence.contributions.sum() + area.contribution + model.svm.bias)
    assert (label.value, label.reason) == (
        "abnormal",
        "The SVM's score on 100 cells is 1.50, above 0; k-means agrees.",
    )
    small = decide_label(ALL_IN_0, 100, model, medians={"area_um2": 10.0})
    assert small.evidence.score == pytest.approx(0.75 - 1.25)
    assert small.value == "normal"
    # k-means and the reference tiles know the proportions alone.
    assert (small.evidence.kmeans, evidence.kmeans) == ("abnormal", "abnormal")
    assert small.evidence.placement.groups == evidence.placement.groups


def test_limits_of_the_labels_are_of_the_whole_descriptor(manifest):
    model = with_limits(manifest.image_level, 0.1, 0.2)
    svms = (Svm(weights=(0.0,) * 5, bias=0.0),)
    limits = model.conformal.model_copy(update={"without_a_normal": svms, "without_an_abnormal": svms})
    model = with_area(model.model_copy(update={"conformal": limits}), 1.0)
    for area, possible in ((20.0, ("normal",)), (20.6, ()), (24.0, ("abnormal",))):
        assert possible_labels(describe_tile(ALL_IN_0, {"area_um2": area}, model), model) == possible


@pytest.mark.parametrize("medians", [None, {}, {"perimeter_um": 3.0}])
def test_no_label_and_no_score_where_a_measurement_is_not_known(manifest, medians):
    """A score without it would be another one."""
    label = decide_label(ALL_IN_0, 100, with_area(manifest.image_level, 0.5), ["It is blurred."], medians)
    assert (label.value, label.evidence) == ("indeterminate", None)
    assert label.reason == (
        "The label of this bundle also rests on medians that are not known here: Nuclear area. It is blurred."
    )


def test_bundle_of_proportions_takes_no_notice_of_measurements(manifest):
    with_medians, without = (
        decide_label(ALL_IN_0, 100, manifest.image_level, (), m) for m in ({"area_um2": 9.0}, None)
    )
    assert with_medians.evidence.score == without.evidence.score == 0.75
    assert with_medians.evidence.measurements == ()
