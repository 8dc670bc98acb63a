"""Chromatin: textures whose answer can be worked out by hand, and Haralick's features by scikit-image."""

import numpy as np
import pytest
from skimage.feature import graycomatrix, graycoprops

from app.pipeline.measure.cells import measure_cells
from app.pipeline.measure.density import density_levels, to_od
from app.pipeline.measure.table import CHROMATIN, GREY_LEVELS, GREY_STEP_OD, INDEX
from tests.drawing import disc
from tests.pipeline.measure.drawn_nuclei import MATRIX, blobs, measured, nuclei_of, plain, stained

SHAPE = (60, 60)
SQUARE = np.zeros(SHAPE, bool)
SQUARE[10:50, 10:50] = True
Y, X = np.indices(SHAPE)
LOW, HIGH = 0.42, 0.86


def texture(dark):
    """The measurements of a square nucleus whose pixels are dark where the mask holds, and pale elsewhere."""
    return measured(nuclei_of(SQUARE), stained(np.where(dark, HIGH, LOW), np.full(SHAPE, 0.1)))


def test_even_chromatin_has_no_contrast_one_grey_level_and_no_correlation():
    found = measured(nuclei_of(SQUARE), plain(SHAPE))
    for name in ("chromatin_contrast", "chromatin_contrast_coarse", "chromatin_entropy", "haralick_contrast"):
        assert found[name] == 0, name
    assert found["haralick_energy"] == found["haralick_homogeneity"] == 1
    assert np.isnan(found["haralick_correlation"])
    assert found["dark_clumps"] == 0


def test_a_chequered_nucleus_has_all_its_contrast_between_neighbours():
    """Its two densities are as frequent: one bit. Four pixels apart, along a row, the pattern is the same again."""
    found = texture((X + Y) % 2 == 0)
    assert found["chromatin_contrast"] == pytest.approx(HIGH - LOW, abs=0.02)
    assert found["chromatin_contrast_coarse"] == 0
    assert found["chromatin_entropy"] == pytest.approx(1)


def test_coarse_chromatin_has_its_contrast_at_the_coarse_scale():
    """Squares of 4 × 4 px: a quarter of the neighbours differ, and all pixels that are 4 px apart."""
    found = texture((X // 4 + Y // 4) % 2 == 0)
    assert found["chromatin_contrast"] == pytest.approx((HIGH - LOW) / 4, abs=0.02)
    assert found["chromatin_contrast_coarse"] == pytest.approx(HIGH - LOW, abs=0.02)


def test_clumps_are_counted_inside_the_outline_from_half_a_square_micrometre_on():
    """Three of 5 × 5 px, two of which share a corner and are one; one of 2 × 2 px, too small; and one outermost."""
    dark = np.zeros(SHAPE, bool)
    for y, x, size in ((15, 15, 5), (20, 20, 5), (30, 40, 5), (40, 20, 2)):
        dark[y : y + size, x : x + size] = True
    dark[10, 25:35] = True
    assert texture(dark)["dark_clumps"] == 2


def test_clumps_of_nuclei_that_touch_are_not_joined():
    left, right = SQUARE & (X < 30), SQUARE & (X >= 30)
    dark = SQUARE & (np.abs(Y - 30) < 4) & (np.abs(X - 30) < 8)
    stains = stained(np.where(dark, HIGH, LOW), np.full(SHAPE, 0.1))
    found = measure_cells(stains, nuclei_of(left, right), 0.25)
    assert found.column("dark_clumps").tolist() == [1, 1]


def test_a_sharp_edge_is_sharper_than_a_blurred_one():
    """A step of density from one pixel to the next is seen by both of them, each at half its height."""
    nucleus = disc(SHAPE, (30, 30), 14)
    sharp = measured(nuclei_of(nucleus), stained(np.where(nucleus, 0.8, 0.2), np.full(SHAPE, 0.1)))
    distance = np.hypot(X - 30, Y - 30) - 14
    blurred = measured(nuclei_of(nucleus), stained(0.5 - 0.3 * np.tanh(distance / 4), np.full(SHAPE, 0.1)))
    assert 0.3 / 0.25 <= sharp["edge_sharpness"] <= 0.3 * np.sqrt(2) / 0.25
    assert blurred["edge_sharpness"] == pytest.approx(0.3 / 4 / 0.25, rel=0.1)


def test_haralicks_features_are_those_of_scikit_image():
    """At 0.5 µm per pixel, partners are neighbours in all four directions, as scikit-image has them, too."""
    random = np.random.default_rng(1)
    stains = stained(random.uniform(0.2, 1.3, SHAPE), np.full(SHAPE, 0.1))
    found = measured(nuclei_of(SQUARE), stains, mpp=0.5)
    density = to_od(density_levels(stains.normalised, MATRIX)[0].astype(float))[10:50, 10:50]
    grey = np.floor(density / GREY_STEP_OD + 1e-6).clip(0, GREY_LEVELS - 1).astype(np.uint8)
    pairs = graycomatrix(grey, [1], [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4], GREY_LEVELS, symmetric=True)
    pairs = pairs.sum(axis=3, keepdims=True).astype(float)
    pairs /= pairs.sum()
    for ours, theirs in (("contrast", "contrast"), ("homogeneity", "homogeneity"), ("energy", "ASM")):
        assert found[f"haralick_{ours}"] == pytest.approx(graycoprops(pairs, theirs).item(), rel=1e-6)
    assert found["haralick_correlation"] == pytest.approx(graycoprops(pairs, "correlation").item(), abs=1e-6)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_nucleus_has_the_same_chromatin(turns):
    random = np.random.default_rng(2)
    masks = blobs(5)
    haematoxylin, eosin = random.uniform(0.2, 1.2, masks[0].shape), np.full(masks[0].shape, 0.1)
    before = measure_cells(stained(haematoxylin, eosin), nuclei_of(*masks), 0.25)
    turned = stained(np.rot90(haematoxylin, turns), np.rot90(eosin, turns))
    after = measure_cells(turned, nuclei_of(*(np.rot90(mask, turns).copy() for mask in masks)), 0.25)
    columns = [INDEX[measurement.name] for measurement in CHROMATIN]
    np.testing.assert_allclose(after.values[:, columns], before.values[:, columns], atol=1e-9)
