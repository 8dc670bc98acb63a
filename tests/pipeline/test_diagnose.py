import numpy as np
import pytest

from app.pipeline.diagnose import diagnose


def test_contributions_and_bias_sum_to_the_score(manifest):
    # weights (1, −1, 2, 0, 0.5), bias −0.25
    label = diagnose(np.array([0.2, 0.1, 0.3, 0.3, 0.1]), 100, manifest.image_level)
    np.testing.assert_allclose(label.contributions, [0.2, -0.1, 0.6, 0.0, 0.05])
    assert label.score == pytest.approx(0.5)
    assert label.contributions.sum() + manifest.image_level.svm.bias == pytest.approx(label.score)


@pytest.mark.parametrize(
    ("proportions", "score", "value"),
    [
        ([1, 0, 0, 0, 0], 0.75, "abnormal"),
        ([0, 1, 0, 0, 0], -1.25, "normal"),
        ([0.25, 0, 0, 0.75, 0], 0.0, "normal"),
    ],
)
def test_label_is_abnormal_above_zero_only(manifest, proportions, score, value):
    label = diagnose(np.array(proportions, float), 100, manifest.image_level)
    assert label.score == pytest.approx(score)
    assert label.value == value


@pytest.mark.parametrize(
    ("proportions", "kmeans"),
    [([0.6, 0, 0, 0, 0.4], "abnormal"), ([0.4, 0, 0, 0, 0.6], "normal"), ([0, 0, 0.8, 0, 0.2], "normal")],
)
def test_kmeans_takes_the_nearest_centre(manifest, proportions, kmeans):
    assert diagnose(np.array(proportions, float), 100, manifest.image_level).kmeans == kmeans


def test_disagreement_with_kmeans_is_said(manifest):
    label = diagnose(np.array([0, 0, 0.5, 0, 0.5]), 100, manifest.image_level)
    assert (label.value, label.kmeans) == ("abnormal", "normal")
    assert "says normal" in label.reason


@pytest.mark.parametrize(("n_cells", "value"), [(9, "indeterminate"), (10, "abnormal"), (11, "abnormal")])
def test_too_few_cells_give_no_label_but_keep_their_numbers(manifest, n_cells, value):
    label = diagnose(np.array([1.0, 0, 0, 0, 0]), n_cells, manifest.image_level)
    assert label.value == value
    assert label.score == pytest.approx(0.75)
    assert label.kmeans == "abnormal"
    assert str(n_cells) in label.reason
    if value == "indeterminate":
        assert "10" in label.reason


def test_no_cells_give_no_label_and_no_numbers(manifest):
    label = diagnose(None, 0, manifest.image_level)
    assert label.value == "indeterminate"
    assert (label.score, label.kmeans, label.contributions) == (None, None, None)
    assert label.basis == "simulated"
    assert label.reason
