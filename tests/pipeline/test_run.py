import dataclasses
import math
import threading

import numpy as np
import pytest

import app.pipeline.run
from app.pipeline.crops import crop_cells, pictures
from app.pipeline.errors import InvalidParameter, TileTooLarge, UnreadableTile
from app.pipeline.quality.assess import assess
from app.pipeline.run import analyse, analyse_stages
from tests.descriptors import with_area
from tests.drawing import disc, draw_tile, encoded, grid_of_centres, mix

LIMIT = 25_000_000
RNG = np.random.default_rng(5)


def analysis_of(pixels, bundle, **options):
    return analyse(encoded(pixels), bundle, max_pixels=LIMIT, **options)


def numbers(value):
    """Every number in a value, however deep."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from numbers(getattr(value, field.name))
    elif isinstance(value, dict):
        for part in value.values():
            yield from numbers(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from numbers(part)
    elif isinstance(value, np.ndarray):
        yield from value.ravel().tolist()
    elif isinstance(value, int | float):
        yield value


def check(analysis):
    """What holds for every tile."""
    measured = analysis.measurements
    others = dataclasses.replace(analysis, tile=None, measurements=None)
    assert all(math.isfinite(number) for number in numbers(others))
    assert np.array_equal(np.isfinite(measured.values), measured.reasons == 0)
    assert len(measured) == len(analysis.cells)
    cells, n = analysis.cells, len(analysis.cells.areas_px)
    assert cells.centroids.shape == (n, 2)
    assert cells.bboxes.shape == (n, 4)
    assert cells.cluster_probs.shape == (n, 5)
    assert len(cells.contours) == len(analysis.proportions.clusters) == n
    assert analysis.proportions.counts.sum() == n
    np.testing.assert_allclose(cells.cluster_probs.sum(axis=1), 1, atol=1e-5)
    size = [analysis.tile.width, analysis.tile.height]
    assert (cells.bboxes >= 0).all()
    assert (cells.bboxes <= size * 2).all()
    for outline in cells.contours:
        assert (outline >= 0).all()
        assert (outline <= np.array(size) - 1).all()
    if n:
        assert analysis.proportions.values.sum() == pytest.approx(1, abs=1e-9)
    else:
        assert analysis.proportions.values is None
        assert analysis.label.value == "indeterminate"
        assert analysis.label.reason
    return analysis


def test_drawn_tile_gives_its_cells_proportions_and_label(fake_bundle):
    centres = grid_of_centres()
    analysis = check(analysis_of(draw_tile(centres), fake_bundle))
    distances = np.linalg.norm(analysis.cells.centroids[:, None] - centres[None], axis=2)
    assert len(analysis.cells.areas_px) == len(centres)
    assert distances.min(axis=1).max() < 1.5
    assert analysis.label.value in {"normal", "abnormal"}
    assert [flag.code for flag in analysis.quality.flags] == ["mpp_unknown", "few_cells"]
    assert set(analysis.timing_ms) == {"total", "decode", "segment", "quality", "measure", "encode", "label"}


def test_networks_get_the_crops_that_the_manifest_says(fake_bundle, seeing_bundle):
    data = encoded(draw_tile([(60, 60), (60, 168), (60, 202)], radius=14))
    alone, stages_alone = analyse_stages(data, fake_bundle, max_pixels=LIMIT)
    seeing, stages = analyse_stages(data, seeing_bundle, max_pixels=LIMIT)
    assert (stages_alone.crops.shape[3], stages.crops.shape[3]) == (3, 7)
    np.testing.assert_array_equal(pictures(stages.crops), stages_alone.crops)
    np.testing.assert_array_equal(seeing.cells.cluster_probs, alone.cells.cluster_probs)
    expected = crop_cells(stages.stains.normalised, stages.nuclei, "surroundings")
    np.testing.assert_array_equal(stages.crops, expected)


def test_tile_of_outliers_has_cells_and_no_proportions(fake_bundle):
    outliers = fake_bundle.manifest.outliers.model_copy(update={"threshold": -1.0})
    strange = dataclasses.replace(fake_bundle, manifest=fake_bundle.manifest.model_copy(update={"outliers": outliers}))
    analysis = analysis_of(draw_tile(grid_of_centres()), strange)
    n = len(grid_of_centres())
    assert len(analysis.cells.areas_px) == n
    assert analysis.proportions.outlier.all()
    assert analysis.proportions.values is None
    assert [flag.code for flag in analysis.quality.flags] == ["mpp_unknown", "few_cells", "many_outliers"]
    assert analysis.label.value == "indeterminate"
    assert f"{n} of {n} cells" in analysis.label.reason


def test_same_upload_gives_the_same_answer(fake_bundle):
    data = encoded(draw_tile(grid_of_centres()))
    first, second = (analyse(data, fake_bundle, max_pixels=LIMIT) for _ in range(2))
    np.testing.assert_array_equal(first.cells.cluster_probs, second.cells.cluster_probs)
    np.testing.assert_array_equal(first.cells.centroids, second.cells.centroids)
    assert first.label.evidence.score == second.label.evidence.score


DEGENERATE = {
    "white": np.full((120, 160, 3), 255, np.uint8),
    "black": np.zeros((120, 160, 3), np.uint8),
    "grey": np.full((120, 160, 3), 128, np.uint8),
    "one colour": np.full((120, 160, 3), (180, 90, 160), np.uint8),
    "plain eosin": mix(np.zeros((120, 160)), np.full((120, 160), 60.0)),
    "plain haematoxylin": mix(np.full((120, 160), 90.0), np.zeros((120, 160))),
    "one white pixel": np.full((1, 1, 3), 255, np.uint8),
    "one purple pixel": np.full((1, 1, 3), (90, 20, 140), np.uint8),
    "two halves": np.repeat(np.array([[[0] * 3, [255] * 3]], np.uint8), 80, axis=1).repeat(120, axis=0),
    "grey ramp": np.broadcast_to(np.arange(160, dtype=np.uint8)[None, :, None], (120, 160, 3)).copy(),
}


@pytest.mark.parametrize("pixels", DEGENERATE.values(), ids=DEGENERATE.keys())
def test_tile_without_two_stains_has_no_cells_and_says_so(fake_bundle, pixels):
    analysis = check(analysis_of(pixels, fake_bundle))
    assert len(analysis.cells.areas_px) == 0
    assert [flag.code for flag in analysis.quality.flags] == ["no_stain", "mpp_unknown", "few_cells"]


@pytest.mark.parametrize("stain", ["eosin", "haematoxylin"])
def test_one_stain_of_uneven_strength_is_flagged_and_has_no_nuclei(fake_bundle, stain):
    amount = 50 + 20 * np.sin(np.arange(160) / 12)[None, :] + 15 * np.cos(np.arange(120) / 9)[:, None]
    none = np.zeros_like(amount)
    pixels = mix(amount, none) if stain == "haematoxylin" else mix(none, amount)
    analysis = check(analysis_of(pixels, fake_bundle))
    assert len(analysis.cells.areas_px) == 0
    assert [flag.code for flag in analysis.quality.flags] == ["no_stain", "mpp_unknown", "few_cells"]


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(RNG.integers(0, 256, (120, 160, 3), dtype=np.uint8), id="colour noise"),
        pytest.param(RNG.integers(0, 256, (120, 160, 1), dtype=np.uint8).repeat(3, axis=2), id="grey noise"),
        pytest.param(RNG.integers(0, 2, (120, 160, 3), dtype=np.uint8) * 255, id="salt and pepper"),
        pytest.param(RNG.integers(0, 256, (1, 2000, 3), dtype=np.uint8), id="1 x 2000"),
        pytest.param(RNG.integers(0, 256, (2000, 1, 3), dtype=np.uint8), id="2000 x 1"),
        pytest.param(RNG.integers(0, 256, (2, 2, 3), dtype=np.uint8), id="2 x 2"),
        pytest.param(RNG.integers(250, 256, (120, 160, 3), dtype=np.uint8), id="nearly white"),
        pytest.param(RNG.integers(0, 4, (120, 160, 3), dtype=np.uint8), id="nearly black"),
    ],
)
def test_noise_gives_an_answer_without_nan(fake_bundle, pixels):
    check(analysis_of(pixels, fake_bundle))


def test_one_nucleus_is_one_cell_without_a_label(fake_bundle):
    analysis = check(analysis_of(draw_tile([(120, 100)], radius=14), fake_bundle))
    assert len(analysis.cells.areas_px) == 1
    np.testing.assert_allclose(analysis.cells.centroids[0], [120, 100], atol=1.5)
    assert sorted(analysis.proportions.values.tolist()) == [0, 0, 0, 0, 1]
    assert analysis.label.value == "indeterminate"
    assert "1 cell" in analysis.label.reason


@pytest.mark.parametrize("centre", [(0, 100), (239, 100), (120, 0), (120, 199), (0, 0), (239, 199)])
def test_nucleus_on_the_border_is_a_cell_up_to_the_border(fake_bundle, centre):
    others = [(60, 60), (180, 60), (60, 140), (180, 140)]
    analysis = check(analysis_of(draw_tile([*others, centre], radius=19), fake_bundle))
    nearest = np.linalg.norm(analysis.cells.centroids - centre, axis=1).argmin()
    x0, y0, x1, y1 = analysis.cells.bboxes[nearest]
    assert len(analysis.cells.areas_px) == 5
    assert x0 <= centre[0] < x1
    assert y0 <= centre[1] < y1
    assert analysis.cells.areas_px[nearest] > 0.8 * disc((200, 240), centre, 19).sum()


def test_finer_upload_is_analysed_at_the_bundles_scale_and_answered_in_its_own_pixels(fake_bundle):
    tile = draw_tile(grid_of_centres())
    coarse = analysis_of(tile, fake_bundle)
    # Every pixel twice along x and y: averaged down by two this is the same tile.
    fine = check(analysis_of(tile.repeat(2, axis=0).repeat(2, axis=1), fake_bundle, mpp=fake_bundle.manifest.mpp / 2))
    np.testing.assert_array_equal(fine.cells.cluster_probs, coarse.cells.cluster_probs)
    # Pixel i becomes pixels 2i and 2i + 1: centres move to 2i + 0.5, edges to 2i, areas by four.
    np.testing.assert_allclose(fine.cells.centroids, coarse.cells.centroids * 2 + 0.5)
    np.testing.assert_allclose(fine.cells.bboxes, coarse.cells.bboxes * 2)
    np.testing.assert_allclose(fine.cells.areas_px, coarse.cells.areas_px * 4)
    for small, large in zip(coarse.cells.contours, fine.cells.contours, strict=True):
        np.testing.assert_allclose(large, small * 2 + 0.5)
    assert (fine.tile.width, fine.tile.height) == (480, 400)


def test_coarser_upload_is_answered_within_its_own_pixels(fake_bundle):
    centres = grid_of_centres()
    half = draw_tile(centres).reshape(100, 2, 120, 2, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    analysis = check(analysis_of(half, fake_bundle, mpp=fake_bundle.manifest.mpp * 2))
    distances = np.linalg.norm(analysis.cells.centroids[:, None] - (centres[None] + 0.5) / 2 + 0.5, axis=2)
    assert len(analysis.cells.areas_px) == len(centres)
    assert distances.min(axis=1).max() < 1


def test_a_tile_that_its_file_makes_too_large_says_why(fake_bundle):
    data = encoded(draw_tile(grid_of_centres()), dpi=(12_700, 12_700))  # 2 µm per pixel
    with pytest.raises(TileTooLarge, match=r"a pixel has 2 µm \(png_phys\); if that is wrong, give mpp"):
        analyse(data, fake_bundle, max_pixels=100_000)
    assert analyse(data, fake_bundle, max_pixels=100_000, mpp=fake_bundle.manifest.mpp).tile.width == 240


def test_mpp_of_the_bundle_changes_nothing(fake_bundle):
    tile = draw_tile(grid_of_centres())
    plain, stated = analysis_of(tile, fake_bundle), analysis_of(tile, fake_bundle, mpp=fake_bundle.manifest.mpp)
    np.testing.assert_array_equal(plain.cells.centroids, stated.cells.centroids)


def test_limit_holds_at_the_bundles_scale_too(fake_bundle):
    data = encoded(draw_tile(grid_of_centres()))
    with pytest.raises(TileTooLarge, match="scale"):
        analyse(data, fake_bundle, max_pixels=100_000, mpp=4.0)


@pytest.mark.parametrize(
    ("data", "mpp", "error"),
    [
        (b"text", None, UnreadableTile),
        (b"", None, UnreadableTile),
        (encoded(np.zeros((2, 2, 3), np.uint8)), -1.0, InvalidParameter),
    ],
)
def test_bad_input_is_refused_by_its_own_error(fake_bundle, data, mpp, error):
    with pytest.raises(error):
        analyse(data, fake_bundle, max_pixels=LIMIT, mpp=mpp)


def test_tile_for_which_no_thread_can_be_started_is_not_judged_later(fake_bundle, monkeypatch):
    """Its pixels would otherwise stay in memory just where memory is short, once for each request."""

    def no_thread(_):
        raise RuntimeError("can't start new thread")

    judged = []
    pixels = draw_tile(grid_of_centres())
    monkeypatch.setattr(app.pipeline.run, "assess", lambda *given: judged.append(given) or assess(*given))
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        for _ in range(3):
            with pytest.raises(MemoryError, match="new thread"):
                analysis_of(pixels, fake_bundle)
    for _ in range(2):
        check(analysis_of(pixels, fake_bundle))
    assert len(judged) == 2


@pytest.mark.parametrize("mpp", [None, 0.25, 0.5])
def test_label_by_measurements_rests_on_the_medians_of_the_counted_cells(fake_bundle, mpp):
    level = with_area(fake_bundle.manifest.image_level, 2.0)
    bundle = dataclasses.replace(fake_bundle, manifest=fake_bundle.manifest.model_copy(update={"image_level": level}))
    analysis = analysis_of(draw_tile(grid_of_centres()), bundle, mpp=mpp)
    areas = analysis.measurements.column("area")[~analysis.proportions.outlier]
    median = float(np.nanmedian(areas))
    (area,) = analysis.label.evidence.measurements
    assert area.value == pytest.approx(median)
    # Discs with a radius of 11 px; a tile without a scale is taken to be at the bundle's.
    assert median == pytest.approx(math.pi * (11 * (mpp or 0.25)) ** 2, rel=0.1)
    assert area.contribution == pytest.approx(2 * (median - 20) / 4)


def test_tile_whose_cells_have_no_such_measurement_gets_no_label(fake_bundle):
    """The border cuts every nucleus, so their sizes are not seen."""
    level = with_area(fake_bundle.manifest.image_level, 2.0)
    bundle = dataclasses.replace(fake_bundle, manifest=fake_bundle.manifest.model_copy(update={"image_level": level}))
    analysis = analysis_of(draw_tile([(0, 100), (239, 100), (120, 0), (120, 199)], radius=19), bundle)
    assert analysis.proportions.n_counted > 0
    assert analysis.cells.touches_border.all()
    assert (analysis.label.value, analysis.label.evidence) == ("indeterminate", None)
    assert "Nuclear area" in analysis.label.reason
