import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.pipeline.nuclei.measure import measure
from app.pipeline.presets import DEFAULT
from app.pipeline.stain.unmix import unmix
from app.pipeline.tissue.classes import (
    BACKGROUND,
    BONE_AND_STROMA,
    CLASS_COLORS,
    CLASSES,
    FAT,
    HAEMATOPOIETIC,
    NEITHER,
    NOT_STAINED,
    RED_CELLS,
    picture,
)
from app.pipeline.tissue.compose import compose
from tests.pipeline.tissue.drawn_tissue import Drawing, composed, mixed, named

TOLERANCE = 0.03


def check_shares(drawing):
    tissue = drawing.composed()
    assert named(tissue.shares) == pytest.approx(drawing.shares(), abs=TOLERANCE)
    return tissue


@pytest.mark.parametrize("mpp", [0.25, 0.5, 1.0, 2.0])
def test_every_kind_has_its_share_at_every_scale(mpp):
    tissue = check_shares(mixed(mpp))
    assert tissue.shares.sum() == pytest.approx(1, abs=1e-9)
    assert tissue.classes.shape == (300, 300)  # the map has 1 µm per pixel
    assert tissue.area_mm2 == pytest.approx(0.09)
    cells, fat = tissue.shares[[HAEMATOPOIETIC, FAT]]
    assert tissue.cellularity == pytest.approx(cells / (cells + fat))
    assert tissue.reason is None


@pytest.mark.parametrize("mpp", [0.25, 2.0])
@pytest.mark.parametrize("kind", [HAEMATOPOIETIC, BONE_AND_STROMA, RED_CELLS, BACKGROUND])
def test_tile_of_one_kind(kind, mpp):
    tissue = Drawing((140, 120), mpp, kind).composed()
    assert tissue.shares[kind] > 1 - TOLERANCE
    expected = {HAEMATOPOIETIC: 1.0}.get(kind)
    assert tissue.cellularity == (None if expected is None else pytest.approx(1, abs=TOLERANCE))
    assert tissue.reason == (NEITHER if expected is None else None)


@pytest.mark.parametrize("mpp", [0.25, 0.5, 1.0])
def test_tile_that_is_all_fat_is_vacuoles_with_thin_septa(mpp):
    drawing = Drawing((220, 200), mpp, BONE_AND_STROMA)
    centres = [(x + 33 * (j % 2), y) for j, y in enumerate(range(0, 260, 57)) for x in range(-10, 290, 66)]
    distances = np.sort([np.hypot(drawing.x - x, drawing.y - y) for x, y in centres], axis=0)
    drawing.paint(FAT, distances[1] - distances[0] > 3)
    tissue = check_shares(drawing)
    assert tissue.cellularity == pytest.approx(0, abs=TOLERANCE)


def cells_with(kind, shape, size=(240, 200), mpp=0.5):
    drawing = Drawing(size, mpp)
    return drawing.paint(kind, shape(drawing))


@pytest.mark.parametrize(
    "shape",
    [
        lambda d: d.disc(120, 100, 22),
        lambda d: d.disc(120, 100, 118),
        lambda d: d.ellipse(120, 100, 100, 55, 30),
        lambda d: d.disc(95, 100, 60) | d.disc(150, 100, 60),  # the septum between them is broken
        lambda d: d.disc(85, 70, 50) | d.disc(130, 70, 50) | d.disc(108, 108, 50),
        lambda d: d.disc(120, 0, 90),
        lambda d: d.disc(120, 30, 80),
        lambda d: d.disc(0, 0, 110),
        lambda d: d.disc(120, 225, 90),
        lambda d: d.disc(200, 100, 90) & ~d.tear(200, 100, 40, 3, 50),  # with a wrinkle
    ],
)
def test_vacuole_is_fat_wherever_it_lies(shape):
    drawing = cells_with(FAT, shape)
    tissue = check_shares(drawing)
    assert tissue.shares[BACKGROUND] < 0.01


@pytest.mark.parametrize(
    "shape",
    [
        lambda d: d.tear(120, 100, 200, 14, 20),
        lambda d: d.tear(120, 100, 150, 24, 70),
        lambda d: d.tear(60, 100, 160, 20, 0),  # open to the border
        lambda d: d.tear(120, 80, 120, 16, 0) | d.tear(120, 100, 90, 16, 90),  # branches
        lambda d: d.x + d.y < 90,  # glass in a corner
        lambda d: d.y > 150 + 4 * np.sin(d.x / 8),  # glass along the border
        lambda d: d.x > 100,
        lambda d: d.disc(120, 100, 180),  # larger than any adipocyte
    ],
)
def test_tear_and_glass_are_no_fat(shape):
    drawing = cells_with(BACKGROUND, shape)
    tissue = check_shares(drawing)
    assert tissue.shares[FAT] < 0.02


def test_lone_nuclei_in_bone_are_no_haematopoietic_tissue_and_a_strand_between_vacuoles_is():
    bone = Drawing((200, 200), 0.5, BONE_AND_STROMA)
    osteocytes = bone.label_image([(x, y) for x in range(20, 200, 35) for y in range(20, 200, 35)])
    assert composed(bone.pixels(osteocytes), osteocytes, 0.5).shares[BONE_AND_STROMA] > 0.97
    strands = Drawing((200, 200), 0.5)
    for x in (50, 150):
        for y in (45, 150):
            strands.paint(FAT, strands.ellipse(x, y, 84, 92))
    label_image = strands.nuclei(step=8, margin=4)
    tissue = composed(strands.pixels(label_image), label_image, 0.5)
    assert named(tissue.shares) == pytest.approx(strands.shares(), abs=TOLERANCE)


def test_haematoxylin_shows_cells_where_no_nuclei_were_found():
    drawing = mixed(1.0)
    pixels = drawing.pixels(drawing.nuclei())
    without = composed(pixels, np.zeros(pixels.shape[:2], np.int32), 1.0)
    assert named(without.shares) == pytest.approx(drawing.shares(), abs=2 * TOLERANCE)


@pytest.mark.parametrize("mpp", [0.5, 1.0])
def test_shares_are_those_of_the_tile_turned_and_mirrored(mpp):
    drawing = mixed(mpp)
    label_image = drawing.nuclei()
    pixels = drawing.pixels(label_image)
    expected = composed(pixels, label_image, mpp).shares
    for mirrored in (False, True):
        for turns in range(4):
            views = [np.rot90(a[:, ::-1] if mirrored else a, turns) for a in (pixels, label_image)]
            found = composed(*(np.ascontiguousarray(view) for view in views), mpp)
            np.testing.assert_allclose(found.shares, expected, atol=0.01)


@pytest.mark.parametrize("change", ["darker", "brighter", "weaker stain", "stronger stain", "warmer light"])
def test_shares_do_not_change_with_the_lamp_or_the_strength_of_the_stain(change):
    drawing = mixed(0.5)
    label_image = drawing.nuclei()
    pixels = drawing.pixels(label_image)
    factor = {"darker": 0.87, "brighter": 255 / 246, "warmer light": np.array([1.0, 0.97, 0.9])}
    power = {"weaker stain": 0.75, "stronger stain": 1.35}.get(change, 1)
    transmitted = ((pixels + 1.0) / 246) ** power * 246 * factor.get(change, 1) - 1
    changed = np.rint(transmitted.clip(0, 255)).astype(np.uint8)
    expected = composed(pixels, label_image, 0.5).shares
    np.testing.assert_allclose(composed(changed, label_image, 0.5).shares, expected, atol=0.02)


def test_what_the_scanner_left_black_is_background():
    drawing = Drawing((200, 200), 0.5)
    label_image = drawing.nuclei()
    pixels = drawing.pixels(label_image)
    pixels[:, :200] = 0
    label_image[:, :200] = 0
    tissue = composed(pixels, label_image, 0.5)
    assert named(tissue.shares) == pytest.approx(named([0.5, 0, 0, 0, 0.5]), abs=TOLERANCE)


def test_no_cellularity_without_two_stains():
    drawing = Drawing((200, 200), 0.5)
    drawing.paint(FAT, drawing.disc(100, 100, 80))
    grey = np.repeat(drawing.pixels(drawing.nuclei()).mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    stains = unmix(grey, DEFAULT.stain)
    assert stains.stain_matrix is None
    tissue = compose(grey, stains, measure(np.zeros(grey.shape[:2], np.int32)), 0.5)
    assert (tissue.cellularity, tissue.reason) == (None, NOT_STAINED)
    assert tissue.shares.sum() == pytest.approx(1, abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from([0.25, 0.37, 1.0, 2.0]),
    st.integers(0, 255),
    st.integers(0, 2),
)
def test_any_tile_has_shares_that_sum_to_one(height, width, mpp, level, spread):
    rng = np.random.default_rng(height * width)
    pixels = (level + rng.integers(-100 * spread, 100 * spread + 1, (height, width, 3))).clip(0, 255).astype(np.uint8)
    label_image = np.zeros((height, width), np.int32)
    label_image[: height // 2, : width // 3] = 1
    for tissue in (composed(pixels, label_image, mpp), composed(pixels, 0 * label_image, mpp, None)):
        assert tissue.shares.sum() == pytest.approx(1, abs=1e-9)
        assert (tissue.cellularity is None) == (tissue.reason is not None)
        assert tissue.cellularity is None or 0 <= tissue.cellularity <= 1


def test_picture_shows_each_kind_in_its_colour():
    classes = np.arange(len(CLASSES), dtype=np.uint8)[None]
    assert [tuple(color) for color in picture(classes)[0].tolist()] == [CLASS_COLORS[name] for name in CLASSES]
    assert len(set(CLASS_COLORS.values())) == len(CLASSES)
