import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from app.pipeline.bundle.load import read_manifest
from app.pipeline.headers.declared_scale import DeclaredScale
from app.pipeline.headers.metadata import Metadata
from app.pipeline.presets import DEFAULT
from app.pipeline.quality.assess import MESSAGES, assess, file_flags, he_share, judge, stain_distance
from app.pipeline.quality.measure import STAIN_FEATURES, QualityMeasures, measure_blockiness, measure_quality
from app.pipeline.quality.reference import fit_reference, jpeg, measure_views, stack_views
from app.pipeline.run import analyse
from app.pipeline.stain.unmix import unmix
from app.pipeline.types import Tile
from tests.drawing import draw_tile, encoded, grid_of_centres
from training.study.protocols.degrade import CONDITIONS, PICTURES, blur, pad, resample, stain_strength

SHAPE = (480, 560)


def drawn(seed, radius=14, centres=None):
    return draw_tile(grid_of_centres(SHAPE) if centres is None else centres, shape=SHAPE, radius=radius, seed=seed)


@pytest.fixture(scope="module")
def reference():
    """Fitted on drawn tiles."""
    rows, matrices = [], []
    for seed, radius in enumerate((13, 14, 15)):
        tile = drawn(seed, radius)
        stains = unmix(tile, DEFAULT.stain)
        rows += measure_views(seed, tile, stains, DEFAULT.stain)
        matrices.append(stains.stain_matrix)
    return fit_reference(stack_views(rows), np.array(matrices))


@pytest.fixture(scope="module")
def good():
    """A drawn tile that the reference has not seen."""
    return drawn(seed=7)


def quality_of(pixels, reference, mpp=0.25, params=DEFAULT):
    stains = unmix(pixels, params.stain)
    tile = Tile(pixels, "0" * 64, mpp)
    return assess(tile, pixels, stains, params.stain, reference)


def codes(quality):
    return {flag.code for flag in quality.flags}


def check(quality):
    """What holds for every tile."""
    numbers = [quality.focus, quality.tissue_fraction, quality.stain_distance or 0.0]
    for flag in quality.flags:
        assert flag.code in MESSAGES
        assert "{" not in flag.message
        assert (flag.value is None) == (flag.threshold is None) == (flag.code in {"no_stain", "mpp_unknown"})
        if flag.value is not None:
            numbers += [flag.value, flag.threshold]
            assert f"{flag.value:.3g}" in flag.message
            assert f"limit of {flag.threshold:.3g}" in flag.message
    assert all(math.isfinite(number) for number in numbers)
    assert len(codes(quality)) == len(quality.flags)
    assert 0 <= quality.tissue_fraction <= 1
    assert quality.focus >= 0
    return quality


def test_good_tile_has_no_flags(good, reference):
    quality = check(quality_of(good, reference))
    assert quality.flags == ()
    assert 0 <= quality.stain_distance <= reference.max_stain_distance
    assert quality.focus >= reference.min_focus
    assert quality.tissue_fraction > 0.9


def test_unknown_scale_is_said_without_numbers(good, reference):
    (flag,) = check(quality_of(good, reference, mpp=None)).flags
    assert flag.code == "mpp_unknown"


@pytest.mark.parametrize("name", CONDITIONS)
def test_drawn_tile_raises_the_flag_of_what_was_done_to_it(name, good, reference):
    condition = CONDITIONS[name]
    found = codes(check(quality_of(condition.change(good), reference)))
    assert found & condition.right if condition.right else not found


@pytest.mark.slow
@pytest.mark.parametrize("name", CONDITIONS)
def test_real_tile_raises_the_flag_of_what_was_done_to_it(name, real_tile, shipped_bundle):
    manifest, _ = read_manifest(shipped_bundle)
    condition = CONDITIONS[name]
    quality = quality_of(condition.change(real_tile), manifest.quality, params=manifest.segmentation)
    found = codes(check(quality))
    assert found & condition.right if condition.right else not found


@pytest.mark.parametrize("name", PICTURES)
def test_picture_that_is_no_tile_is_flagged(name, reference):
    make, right = PICTURES[name]
    for pixels in make():
        assert codes(check(quality_of(pixels, reference))) & right


@pytest.mark.parametrize(("grey", "tissue"), [(255, 0.0), (128, 1.0), (0, 0.0)])
@pytest.mark.parametrize("shape", [(30, 40), (1, 1), (1, 2000), (2000, 1), (120, 160)])
def test_plain_tile_is_flagged_and_measured(grey, tissue, shape, reference):
    quality = check(quality_of(np.full((*shape, 3), grey, np.uint8), reference))
    assert "no_stain" in codes(quality)
    assert ("little_tissue" in codes(quality)) == (tissue == 0)
    assert ("not_he" in codes(quality)) == (tissue == 1 and np.prod(shape) >= 1000)
    assert not codes(quality) & {"blurred", "compressed", "scale_suspect"}
    assert quality.stain_distance is None
    assert quality.focus == pytest.approx(0, abs=1e-6)
    assert quality.tissue_fraction == tissue


@settings(max_examples=40, deadline=None)
@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 60), st.integers(1, 60), st.just(3))))
def test_no_tile_makes_it_raise_or_give_nan(reference, pixels):
    check(quality_of(np.kron(pixels, np.ones((2, 2, 1), np.uint8)), reference, mpp=None))


@pytest.mark.parametrize("change", [pad, blur(2.5), stain_strength(0.5)], ids=["glass", "blur", "pale"])
def test_turning_a_tile_changes_little(change, good, reference):
    first = quality_of(change(good), reference)
    for tile in (change(good)[::-1], np.ascontiguousarray(change(good).swapaxes(0, 1))):
        turned = quality_of(np.ascontiguousarray(tile), reference)
        assert turned.focus == pytest.approx(first.focus, rel=0.02)
        assert turned.stain_distance == pytest.approx(first.stain_distance, abs=0.3)
        assert turned.tissue_fraction == first.tissue_fraction


def test_blur_lowers_the_focus_step_by_step(good, reference):
    found = [quality_of(blur(sigma)(good), reference).focus for sigma in (0.5, 1, 2, 4, 8, 20)]
    assert all(after < before for before, after in pairwise(found))


def test_neither_glass_nor_nuclei_make_a_tile_sharp(good, reference):
    focus = quality_of(good, reference).focus
    assert quality_of(pad(good), reference).focus == pytest.approx(focus, rel=0.05)
    few = quality_of(drawn(seed=7, centres=grid_of_centres(SHAPE)[::4]), reference).focus
    assert few > reference.min_focus
    blurred = quality_of(pad(blur(2.5)(good)), reference)
    assert codes(blurred) >= {"blurred"}


@pytest.mark.parametrize(("x", "y"), [(0, 0), (3, 0), (0, 5), (3, 5), (7, 7)])
def test_blocks_are_seen_wherever_a_crop_begins(x, y, good):
    damaged = jpeg(good, 8)
    whole = measure_blockiness(damaged, np.ones(SHAPE, bool))
    crop = damaged[y:-7, x:-9]
    assert measure_blockiness(crop, np.ones(crop.shape[:2], bool)) == pytest.approx(whole, rel=0.15)


def test_blocks_fade_with_better_compression(good):
    found = [measure_blockiness(jpeg(good, quality), np.ones(SHAPE, bool)) for quality in (5, 20, 50, 90)]
    assert found == sorted(found, reverse=True)


def test_blocks_are_sought_in_the_upload(good, reference):
    """Rescaling to the bundle's scale smooths them away."""
    upload = jpeg(resample(1.3)(good), 5)
    pixels = resample(1 / 1.3)(upload)
    stains = unmix(pixels, DEFAULT.stain)
    assert "compressed" not in codes(quality_of(pixels, reference))
    assert "compressed" in codes(assess(Tile(upload, "", 0.2), pixels, stains, DEFAULT.stain, reference))


def test_white_glass_is_not_saturated_tissue(good, reference):
    pixels = good.copy()
    pixels[:, :250] = 255
    assert "saturated" not in codes(quality_of(pixels, reference))
    pixels[:, 250:300, 0] = 255
    (flag,) = (flag for flag in quality_of(pixels, reference).flags if flag.code == "saturated")
    assert flag.value == pytest.approx(50 / 310, abs=0.02)


def test_tissue_fraction_is_the_share_that_is_not_empty(good, reference):
    half = np.concatenate([good, np.full_like(good, 255)])
    whole = quality_of(good, reference).tissue_fraction
    assert quality_of(half, reference).tissue_fraction == pytest.approx(whole / 2, abs=1e-9)


def test_few_nuclei_say_nothing_of_the_scale(good, reference):
    few = resample(2)(drawn(seed=7, centres=grid_of_centres(SHAPE)[: reference.min_nuclei - 5]))
    assert "scale_suspect" not in codes(quality_of(few, reference))
    assert "scale_suspect" in codes(quality_of(resample(2)(good), reference))


@pytest.mark.parametrize(("factor", "side"), [(0.5, "below"), (2, "above")])
def test_suspect_scale_says_on_which_side(factor, side, good, reference):
    (flag,) = (f for f in quality_of(resample(factor)(good), reference).flags if f.code == "scale_suspect")
    assert side in flag.message
    assert flag.threshold == reference.nuclear_radius_range_px[0 if side == "below" else 1]


def test_coarse_detail_in_large_nuclei_is_a_doubt_of_the_scale_and_large_nuclei_alone_are_none(reference):
    """Limits 5–10 px and 10–20 px over focus; nuclei of 8 px."""
    limits = {"nuclear_radius_range_px": (5, 10), "radius_over_focus_range_px": (10, 20)}
    reference = reference.model_copy(update=limits)
    for focus, side in ((0.5, None), (0.3, "above"), (0.9, "below")):
        measures = QualityMeasures(0.9, focus, None, None, np.full(reference.min_nuclei, 8.0))
        flags = judge(measures, reference, stained=False, mpp_known=True).flags
        found = [flag for flag in flags if flag.code == "scale_suspect"]
        assert len(found) == (side is not None)
        if side:
            assert found[0].value == pytest.approx(8 / focus)
            assert found[0].threshold == {"above": 20, "below": 10}[side]
            assert f"radius over focus is {8 / focus:.3g} px, {side} the bundle's limit" in found[0].message


def test_stain_flag_names_what_differs_most(good, reference):
    (flag,) = (f for f in quality_of(stain_strength(1.8)(good), reference).flags if f.code == "stain_out_of_range")
    assert any(feature in flag.message for feature in STAIN_FEATURES)


def test_stain_distance_is_the_root_mean_square():
    assert stain_distance(np.zeros(12)) == 0
    assert stain_distance(np.array([3.0, 4.0, *[0.0] * 10])) == pytest.approx(5 / 12**0.5)


def test_features_are_named_and_measured_alike(good):
    measures = measure_quality(good, good, unmix(good, DEFAULT.stain), DEFAULT.stain)
    assert len(STAIN_FEATURES) == len(measures.colours.stain) == len(set(STAIN_FEATURES))


def test_share_of_possible_colours_weighs_by_density(good, reference):
    colours = measure_quality(good, good, unmix(good, DEFAULT.stain), DEFAULT.stain).colours
    assert he_share(colours, reference) > 0.95
    none = reference.model_copy(update={"hue_range_deg": (200.0, 300.0)})
    assert he_share(colours, none) < 0.05


def test_analysis_of_a_file_has_the_same_flags(good, reference, fake_bundle):
    manifest = fake_bundle.manifest.model_copy(update={"quality": reference, "segmentation": DEFAULT})
    blurred = blur(3)(good)
    analysis = analyse(encoded(blurred), replace(fake_bundle, manifest=manifest), max_pixels=10**6, mpp=manifest.mpp)
    of_cells = tuple(flag for flag in analysis.quality.flags if flag.code in {"few_cells", "many_outliers"})
    of_pixels = quality_of(blurred, reference)
    assert analysis.quality == replace(of_pixels, flags=of_pixels.flags + of_cells)
    assert "blurred" in codes(analysis.quality)


SQUARE = DeclaredScale(0.5, 0.5, "ome_xml")
OBJECTIVE = DeclaredScale(0.5, 0.5, "objective")
UNEQUAL = DeclaredScale(0.5, 0.25, "tiff_resolution")


@pytest.mark.parametrize(
    ("scale", "requested", "expected"),
    [
        (None, None, None),
        (None, 0.25, None),
        (SQUARE, None, None),
        (SQUARE, 0.52, None),
        (SQUARE, 0.25, "The request says 0.25 µm per pixel, and the file 0.5 (ome_xml): they differ by 50%, above 5%"),
        (UNEQUAL, 0.5, "the file 0.5 along x and 0.25 along y (tiff_resolution): they differ by 100%, above 5%"),
        (OBJECTIVE, None, "The file names its objective, 20×, and no µm per pixel: 0.5 µm were taken"),
        (OBJECTIVE, 0.46, None),
        (OBJECTIVE, 0.25, "The request says 0.25 µm per pixel, and the file 0.5 (objective): they differ by 50%"),
    ],
)
def test_a_scale_that_the_file_contradicts_or_only_suggests_is_said(scale, requested, expected):
    flags = file_flags(Metadata(scale=scale), requested)
    if expected is None:
        assert flags == ()
    else:
        (flag,) = flags
        assert expected in flag.message
        assert flag.code == ("mpp_from_objective" if requested is None else "scale_conflict")
        assert not flag.prevents_label


def test_what_was_not_applied_to_the_pixels_is_said():
    flags = file_flags(Metadata(orientation=6, color_profile="Display P3"), None)
    assert [flag.code for flag in flags] == ["orientation_ignored", "icc_profile_ignored"]
    assert "orientation 6" in flags[0].message
    assert "(Display P3)" in flags[1].message
    assert not any(flag.prevents_label for flag in flags)
