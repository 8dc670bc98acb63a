import numpy as np
import pytest

from training.study.protocols.intervals import SIZES, evaluate_intervals


@pytest.fixture(scope="module")
def rows():
    """Cells of which Q is certain three times in four."""
    random = np.random.default_rng(0)
    probs = random.dirichlet([0.5, 0.2, 0.2], 3000).astype(np.float32)
    probs /= probs.sum(axis=1, keepdims=True)
    return evaluate_intervals(probs, draws=100)


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
