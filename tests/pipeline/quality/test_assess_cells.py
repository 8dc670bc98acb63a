import numpy as np
import pytest

from app.pipeline.proportions import summarise
from app.pipeline.quality.assess import cell_flags


def flags_of(n, n_outliers, manifest):
    probabilities = np.eye(5, dtype=np.float32)[np.arange(n) % 5]
    return {
        flag.code: flag for flag in cell_flags(summarise(probabilities, np.arange(n) < n_outliers), manifest.outliers)
    }


@pytest.mark.parametrize(("n", "flagged"), [(0, True), (1, True), (499, True), (500, False), (2000, False)])
def test_fewer_cells_than_a_differential_count_asks_for_are_flagged(manifest, n, flagged):
    flags = flags_of(n, 0, manifest)
    assert ("few_cells" in flags) == flagged
    if flagged:
        assert (flags["few_cells"].value, flags["few_cells"].threshold) == (n, 500)
        assert not flags["few_cells"].prevents_label
        assert flags["few_cells"].message.startswith("1 cell was" if n == 1 else f"{n} cells were")


def test_flag_says_how_wide_few_cells_leave_the_intervals(manifest):
    # Wilson's interval of 20 in 100 at z = 2.576 is .1191 to .3162.
    assert "spans 0.20." in flags_of(100, 0, manifest)["few_cells"].message


def test_outliers_do_not_count_towards_enough_cells(manifest):
    assert flags_of(505, 10, manifest)["few_cells"].value == 495


# Limit .05: two standard errors are .0218 of 400 cells, .0975 of 20.
@pytest.mark.parametrize(
    ("n", "n_outliers", "flagged"),
    [(0, 0, False), (20, 0, False), (20, 2, False), (20, 3, True), (400, 28, False), (400, 29, True), (400, 400, True)],
)
def test_more_outliers_than_the_bundle_allows_prevent_a_label(manifest, n, n_outliers, flagged):
    flags = flags_of(n, n_outliers, manifest)
    assert ("many_outliers" in flags) == flagged
    if flagged:
        assert flags["many_outliers"].prevents_label
        assert flags["many_outliers"].value == pytest.approx(n_outliers / n)
        assert f"{n_outliers} of {n} cells" in flags["many_outliers"].message
