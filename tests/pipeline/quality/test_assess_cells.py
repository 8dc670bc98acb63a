import numpy as np
import pytest

from app.pipeline.bundle.load import load_bundle
from app.pipeline.manifest import TileSurprise
from app.pipeline.proportions import summarise
from app.pipeline.quality.assess import cell_flags
from app.pipeline.run import analyse
from tests.drawing import encoded
from training.cells.tile_files import read_tile


def flags_of(n, n_outliers, manifest):
    probabilities = np.eye(5, dtype=np.float32)[np.arange(n) % 5]
    return {
        flag.code: flag
        for flag in cell_flags(
            summarise(probabilities, np.arange(n) < n_outliers), np.zeros(n, np.float32), manifest.outliers
        )
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
    # The exact interval of 20 in 100 at a level of 99% is .1084 to .3212.
    assert "spans 0.21." in flags_of(100, 0, manifest)["few_cells"].message


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


# Limits 10 + √(9 + 1600 / n): 15 of 100 cells, 10 + √(9 + 16) of 100; 50.1 of a single one.
@pytest.mark.parametrize(
    ("n", "mean", "flagged"), [(0, 0, False), (1, 50, False), (1, 51, True), (100, 14.9, False), (100, 15.1, True)]
)
def test_tile_whose_cells_are_all_a_little_odd_gets_no_label(manifest, n, mean, flagged):
    usual = TileSurprise(mean=10, tile_margin=3, cell_margin=40, tiles=5)
    limits = manifest.outliers.model_copy(update={"tile_surprise": usual})
    spread = np.where(np.arange(n) % 2, 5, -5) * (n > 1)
    proportions = summarise(np.eye(5, dtype=np.float32)[np.zeros(n, int)], np.zeros(n, bool))
    flags = {flag.code: flag for flag in cell_flags(proportions, (mean + spread).astype(np.float32), limits)}
    assert ("unlike_training_tiles" in flags) == flagged
    if flagged:
        assert flags["unlike_training_tiles"].prevents_label
        assert flags["unlike_training_tiles"].value == pytest.approx(mean, rel=1e-5)
        assert flags["unlike_training_tiles"].threshold == pytest.approx(10 + (9 + 1600 / n) ** 0.5)


def test_bundle_that_did_not_measure_tiles_flags_none(manifest):
    limits = manifest.outliers.model_copy(update={"tile_surprise": None})
    proportions = summarise(np.eye(5, dtype=np.float32)[np.zeros(600, int)], np.zeros(600, bool))
    assert cell_flags(proportions, np.full(600, 1e6, np.float32), limits) == ()


@pytest.mark.parametrize(("distance", "flagged"), [(None, False), (1.25, False), (1.26, True)])
def test_tile_that_measures_otherwise_than_the_reference_tiles_gets_no_label(manifest, distance, flagged):
    proportions = summarise(np.eye(5, dtype=np.float32)[np.zeros(600, int)], np.zeros(600, bool))
    flags = cell_flags(proportions, np.zeros(600, np.float32), manifest.outliers, distance)
    assert [flag.code for flag in flags] == ["unlike_training_tiles"] * flagged
    if flagged:
        assert flags[0].prevents_label
        assert (flags[0].value, flags[0].threshold) == (1.26, 1.25)


def test_a_tile_is_called_unlike_once(manifest):
    usual = TileSurprise(mean=10, tile_margin=3, cell_margin=40, tiles=5)
    limits = manifest.outliers.model_copy(update={"tile_surprise": usual})
    proportions = summarise(np.eye(5, dtype=np.float32)[np.zeros(600, int)], np.zeros(600, bool))
    (flag,) = cell_flags(proportions, np.full(600, 99, np.float32), limits, 9.0)
    assert flag.value == pytest.approx(99)


def test_nuclei_of_a_lymph_node_are_not_taken_for_marrow_and_a_jpeg_of_marrow_is(bm_graz, shipped_bundle):
    node = bm_graz.parent / "fl_reactive" / "tiles" / "reactive_tissue_036.jpg"
    if not node.is_file():
        pytest.skip("fl_reactive is not among the public data")
    marrow = encoded(read_tile(bm_graz / "tiles" / "BM_GRAZ_HE_0001_01.png"), "JPEG", quality=75)
    bundle = load_bundle(shipped_bundle, 1)
    found = [
        analyse(data, bundle, max_pixels=10**7, mpp=mpp) for data, mpp in ((node.read_bytes(), 0.46), (marrow, 0.25))
    ]
    assert ["unlike_training_tiles" in {flag.code for flag in one.quality.flags} for one in found] == [True, False]
    assert found[0].label.value == "indeterminate"
