import numpy as np
import pytest

from app.batch.plan import stain_sample
from app.batch.plan.stain_sample import PIECE_PX, PIECES, evenly, measure_stain, sample_windows, with_tissue
from app.batch.plan.tissue import OVERVIEW_PX, Overview, overview_of
from app.batch.read.image_slide import ImageSlide
from app.batch.read.slide import Window
from app.pipeline.quality.assess import assess
from app.pipeline.stain.unmix import unmix
from app.pipeline.types import Tile
from tests.batch.read.drawn_slides import drawn_pixels

SIDE = 15 * PIECE_PX
"""Of a slide of 225 pieces."""


def overview_with(tissue):
    """The overview of a slide with tissue where a piece's number, 15 in a row, is in `tissue`."""
    per_piece = PIECE_PX // OVERVIEW_PX
    blocks = np.isin(np.arange(225).reshape(15, 15), list(tissue))
    mask = np.kron(blocks, np.ones((per_piece, per_piece), bool)).astype(bool)
    return Overview(np.zeros((*mask.shape, 3), np.uint8), mask, OVERVIEW_PX, SIDE, SIDE)


def numbers(windows):
    return [window.y // PIECE_PX * 15 + window.x // PIECE_PX for window in windows]


@pytest.fixture(scope="module")
def pixels():
    return drawn_pixels(700, 600)


def measured(pixels, bundle, mpp=0.25, downsample=1.0):
    slide = ImageSlide(pixels)
    overview = overview_of(slide, downsample, bundle.manifest.segmentation.stain.min_magnitude)
    return measure_stain(slide, overview, downsample, bundle.manifest, mpp, "request")


def assert_near(estimate, other, rtol):
    np.testing.assert_allclose(estimate.lab.mean, other.lab.mean, rtol=rtol)
    np.testing.assert_allclose(estimate.lab.sd, other.lab.sd, rtol=rtol)
    np.testing.assert_allclose(estimate.stain_matrix, other.stain_matrix, atol=rtol)
    assert estimate.nuclear_density == pytest.approx(other.nuclear_density, rel=rtol)


def test_slide_of_one_tile_is_measured_as_an_upload_is(pixels, bundle):
    params = bundle.manifest.segmentation
    stains = unmix(pixels, params.stain, params.engine)
    estimate, quality = measured(pixels, bundle)
    assert_near(estimate, stains.estimate, 0)
    assert quality == assess(Tile(pixels, "", 0.25), pixels, stains, params.stain, bundle.manifest.quality)


def test_pieces_of_a_whole_slide_together_are_measured_as_the_whole(pixels, bundle, monkeypatch):
    whole, _ = measured(pixels, bundle)
    monkeypatch.setattr(stain_sample, "ONE_TILE_PX", 1)
    pieces, quality = measured(pixels, bundle)
    assert_near(pieces, whole, 1e-3)
    assert quality.stain_distance is not None
    assert quality.tissue_fraction == 1


def test_scale_of_a_slide_changes_its_stain_little(pixels, bundle, monkeypatch):
    monkeypatch.setattr(stain_sample, "ONE_TILE_PX", 1)
    doubled = pixels.repeat(2, axis=0).repeat(2, axis=1)
    assert_near(measured(doubled, bundle, 0.125, 2.0)[0], measured(pixels, bundle)[0], 0.01)


def test_grey_slide_has_no_stain_and_says_so_however_large_it_is(bundle, monkeypatch):
    grey = np.full((600, 700, 3), 120, np.uint8)
    for one_tile_px in (stain_sample.ONE_TILE_PX, 1):
        monkeypatch.setattr(stain_sample, "ONE_TILE_PX", one_tile_px)
        estimate, quality = measured(grey, bundle)
        assert estimate is None
        assert "no_stain" in [flag.code for flag in quality.flags]


def test_quality_of_a_large_slide_is_that_of_its_tissue(pixels, bundle, monkeypatch):
    slide = np.full((6 * PIECE_PX, 6 * PIECE_PX, 3), 255, np.uint8)
    slide[5 * PIECE_PX :, 5 * PIECE_PX :] = pixels[:PIECE_PX, :PIECE_PX]
    monkeypatch.setattr(stain_sample, "ONE_TILE_PX", 1)
    _, quality = measured(slide, bundle)
    _, of_piece = measured(pixels[:PIECE_PX, :PIECE_PX], bundle)
    assert quality.focus == pytest.approx(of_piece.focus, rel=0.02)
    assert quality.tissue_fraction == pytest.approx(1 / 36)
    assert "little_tissue" not in [flag.code for flag in quality.flags]


def test_every_piece_of_a_slide_of_few_is_chosen():
    assert len(sample_windows(PIECE_PX * 8, PIECE_PX * 12, overview_with(range(225)), 1.0)) == PIECES


def test_pieces_are_spread_evenly_over_the_tissue_and_always_the_same():
    tissue = range(20, 220)
    found = sample_windows(SIDE, SIDE, overview_with(tissue), 1.0)
    steps = np.diff(numbers(found))
    assert (len(found), set(numbers(found)) <= set(tissue)) == (PIECES, True)
    assert set(steps.tolist()) <= {2, 3}
    assert (numbers(found)[0], numbers(found)[-1]) == (20, 219)
    assert found == sample_windows(SIDE, SIDE, overview_with(tissue), 1.0)


def test_of_little_tissue_all_is_chosen_and_no_glass():
    tissue = {3, 17, 100, 224}
    assert set(numbers(sample_windows(SIDE, SIDE, overview_with(tissue), 1.0))) == tissue


def test_pieces_that_have_most_tissue_are_chosen_before_those_that_have_a_trace():
    tissue = set(range(PIECES - 6))
    overview = overview_with(tissue)
    overview.tissue[::16, ::16] = True  # a trace in every piece
    assert tissue < set(numbers(sample_windows(SIDE, SIDE, overview, 1.0)))


def test_scale_of_a_slide_does_not_change_which_pieces_are_chosen():
    overview = overview_with(range(20, 220))
    twice = Overview(overview.pixels, overview.tissue, 2 * OVERVIEW_PX, 2 * SIDE, 2 * SIDE)
    windows = sample_windows(2 * SIDE, 2 * SIDE, twice, 2.0)
    halved = [Window(one.y // 2, one.x // 2, one.width // 2, one.height // 2) for one in windows]
    assert halved == sample_windows(SIDE, SIDE, overview, 1.0)


def test_no_window_without_tissue_is_taken():
    windows = [Window(0, x, PIECE_PX, PIECE_PX) for x in range(0, SIDE, PIECE_PX)]
    assert with_tissue(windows, overview_with(set()), 5) == []
    assert numbers(with_tissue(windows, overview_with({4, 9}), 5)) == [4, 9]


def test_even_steps_have_both_ends():
    assert evenly(list(range(101)), 5) == [0, 25, 50, 75, 100]
    assert evenly([1, 2], 5) == [1, 2]
    assert evenly([], 5) == []
