"""Where a slide is unlike the training tiles."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from app.batch.space.novelty import MIN_CELLS, novelty_map
from app.batch.summary import SlideSummary
from app.pipeline.bundle.load import load_bundle
from app.pipeline.manifest import Outliers, TileSurprise
from app.pipeline.proportions import summarise
from app.pipeline.quality.assess import cell_flags
from app.pipeline.quality.novelty import novelty
from tests.batch.cells import cells_at
from tests.batch.one_slide import prepared
from tests.batch.read.drawn_slides import write_striped
from training.cells.tile_files import read_tile

USUAL = TileSurprise(mean=10, tile_margin=3, cell_margin=40, tiles=5)
LIMITS = Outliers(components=1, threshold=50, training_share=0.01, max_share=1, tile_surprise=USUAL)


@pytest.fixture
def judging(manifest):
    """A bundle that knows how surprising the cells of usual tiles are: 10, and 15 is the limit for 100 of them."""
    return manifest.model_copy(update={"outliers": LIMITS, "reference_ranges": None})


def in_square(column, n):
    """Places in a square of 300 µm, at 0.25 µm per px."""
    return np.random.default_rng(column).uniform(1200 * column, 1200 * column + 1199, (n, 2)) * [1, 0] + [0, 600]


def test_each_square_is_judged_by_its_own_cells(judging):
    places = np.concatenate([in_square(0, 100), in_square(1, 100), in_square(2, MIN_CELLS - 1)])
    cells = replace(
        cells_at(places, np.zeros(len(places), int)),
        surprise=np.repeat([10, 20, 99], [100, 100, MIN_CELLS - 1]).astype(np.float32),
    )
    found = novelty_map(cells, judging, 4000, 1200, 0.25)
    np.testing.assert_allclose(found.values, [[0, 2, np.nan, np.nan]])
    assert (found.square_px, found.judged, found.unlike) == (1200, 2, 1)


def test_square_full_of_outliers_is_judged(judging):
    """They are counted in no cluster, and are what is unlike."""
    cells = replace(
        cells_at(in_square(0, 100), np.zeros(100, int), outlier=np.ones(100)), surprise=np.full(100, 60, np.float32)
    )
    assert novelty_map(cells, judging, 1200, 1200, 0.25).values == pytest.approx(10)


def test_slide_without_cells_has_no_judged_square(judging):
    found = novelty_map(cells_at([], []), judging, 1300, 1200, 0.25)
    assert found.values.shape == (1, 2)
    assert found.judged == found.unlike == 0


def test_bundle_that_knows_nothing_of_tiles_has_no_map(judging):
    ignorant = judging.model_copy(update={"outliers": judging.outliers.model_copy(update={"tile_surprise": None})})
    assert novelty_map(cells_at([], []), ignorant, 1200, 1200, 0.25) is None


@given(
    surprise=st.lists(st.floats(-50, 200, width=32), min_size=1, max_size=30),
    distance=st.none() | st.floats(0, 3),
)
def test_novelty_is_above_one_where_a_tile_has_the_flag(surprise, distance):
    values, limits = np.array(surprise, np.float32), LIMITS
    proportions = summarise(np.eye(5, dtype=np.float32)[np.zeros(len(values), int)], np.zeros(len(values), bool))
    flagged = {flag.code for flag in cell_flags(proportions, values, limits, distance)}
    score = novelty(values, limits, distance)
    assert score >= 0
    assert (score > 1) == ("unlike_training_tiles" in flagged)


def test_colon_on_a_slide_of_marrow_is_seen_where_it_lies(tmp_path, bm_graz, shipped_bundle):
    colon = bm_graz.parent / "crchisto" / "tiles" / "img1.png"
    if not colon.is_file():
        pytest.skip("crchisto is not among the public data")
    marrow = [read_tile(bm_graz / "tiles" / f"BM_GRAZ_HE_{name}.png") for name in ("0001_01", "0002_01")]
    foreign = np.tile(cv2.resize(read_tile(colon), None, fx=2.2, fy=2.2), (2, 2, 1))[:1200, :1200]
    path = write_striped(tmp_path / "a.tif", np.concatenate([*marrow, foreign], axis=1), 0.25)
    written = prepared(tmp_path / "run", path, load_bundle(shipped_bundle)).analyse().write()
    one, two, three = tifffile.imread(written / "novelty.tif").ravel()
    assert max(one, two) < 1 < three
    summary = SlideSummary.model_validate_json((written / "summary.json").read_bytes())
    assert (summary.novelty.squares, summary.novelty.unlike, summary.novelty.square_um) == (3, 1, 300)
    assert "1 is unlike the training tiles" in (written / "report.html").read_text(encoding="utf-8")
