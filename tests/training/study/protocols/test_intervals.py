import numpy as np
import pytest

from training.study.protocols.intervals import SIZES, evaluate_intervals


@pytest.fixture(scope="module")
def rows():
    """Cells of which Q is certain three times in four, and whose anchors are drawn by its probabilities."""
    random = np.random.default_rng(0)
    probs = random.dirichlet([0.5, 0.2, 0.2], 3000).astype(np.float32)
    probs /= probs.sum(axis=1, keepdims=True)
    anchors = (probs.cumsum(axis=1) < random.random((3000, 1))).sum(axis=1).clip(max=2)
    return evaluate_intervals(probs, anchors, draws=100)


def test_every_population_and_size_has_a_row(rows):
    assert [row["cells"] for row in rows] == [*SIZES, *SIZES]
    assert len({row["population"] for row in rows}) == 2


def test_coverage_is_what_is_promised_if_the_probabilities_are_right_and_less_if_they_are_not(rows):
    for row in rows:
        assert row["coverage"] >= 0.95
        assert row["coverage_too_unsure"] >= row["coverage"] >= row["coverage_too_sure"]
    assert rows[len(SIZES) - 1]["coverage_of_counts"] < 0.8


def test_more_cells_make_narrower_intervals(rows):
    widths = [row["width"] for row in rows[: len(SIZES)]]
    assert widths == sorted(widths, reverse=True)


def test_wrong_probabilities_show_in_the_coverage_by_anchors():
    """Q says cluster 0 for sure, but was taught cluster 1 for half of the cells."""
    probs = np.eye(3, dtype=np.float32)[np.repeat([0, 2], [900, 100])]
    anchors = np.where(np.arange(1000) < 450, 1, probs.argmax(axis=1))
    row = evaluate_intervals(probs, anchors, draws=50)[len(SIZES) - 1]
    assert row["coverage"] > 0.9
    assert row["coverage_by_anchors"] == 0
