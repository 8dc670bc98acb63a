"""Sizes and shapes: exact ones of drawn nuclei, those of scikit-image, and what a turn must not change."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import regionprops
from skimage.morphology import convex_hull_image

from app.pipeline.measure.cells import measure_cells
from app.pipeline.measure.table import INDEX, SHAPE
from tests.drawing import disc
from tests.pipeline.measure.drawn_nuclei import MPP, blobs, ellipse, measured, nuclei_of, plain

LENGTHS = ("perimeter", "equivalent_diameter", "major_axis", "minor_axis", "feret_max", "feret_min")
N_SHAPE = len(SHAPE)


def test_a_disc_has_its_own_diameter_in_every_direction():
    found = measured(nuclei_of(disc((120, 120), (60, 60), 40)))
    for name in ("equivalent_diameter", "major_axis", "minor_axis", "feret_max", "feret_min"):
        assert found[name] == pytest.approx(80 * MPP, rel=0.02), name
    assert found["area"] == pytest.approx(np.pi * 1600 * MPP**2, rel=0.005)
    assert found["perimeter"] == pytest.approx(80 * np.pi * MPP, rel=0.01)
    assert found["eccentricity"] < 0.05
    assert found["circularity"] > 0.97
    assert found["solidity"] == pytest.approx(1, abs=0.01)
    assert found["lobulation"] < 0.015
    assert found["concavities"] == 0


@pytest.mark.parametrize("turn", [0, 30, 45, 77])
def test_an_ellipse_has_its_axes_however_it_is_turned(turn):
    found = measured(nuclei_of(ellipse((160, 160), (80, 80), (50, 20), turn)))
    assert found["major_axis"] == pytest.approx(100 * MPP, rel=0.01)
    assert found["minor_axis"] == pytest.approx(40 * MPP, rel=0.01)
    assert found["feret_max"] == pytest.approx(100 * MPP, rel=0.02)
    assert found["feret_min"] == pytest.approx(40 * MPP, rel=0.04)
    assert found["eccentricity"] == pytest.approx(np.sqrt(1 - 0.4**2), abs=0.005)


def test_a_rectangle_has_its_sides_by_hand():
    """20 × 10 px; the line through the middles of the outer sides cuts the corners off.

    Ten rows, twenty columns and 29 diagonals each way leave it, the latter √½ px apart.
    """
    mask = np.zeros((40, 50), bool)
    mask[10:20, 12:32] = True
    found = measured(nuclei_of(mask), mpp=1.0)
    assert found["area"] == 200
    assert found["perimeter"] == pytest.approx(np.pi / 4 * (10 + 20 + 2 * 29 * np.sqrt(0.5)))
    assert found["feret_max"] == pytest.approx(np.hypot(20, 9))
    assert found["feret_min"] == pytest.approx(10)
    assert found["major_axis"] == pytest.approx(4 * np.sqrt((20**2 - 1) / 12))
    assert found["minor_axis"] == pytest.approx(4 * np.sqrt((10**2 - 1) / 12))
    assert found["solidity"] == 1


def test_two_lobes_have_two_concavities_as_deep_as_their_waist():
    """Two discs with a bar between them: the hull lies a disc's radius from the middle, the bar 4 px."""
    shape = (100, 160)
    bar = np.zeros(shape, bool)
    bar[46:55, 50:111] = True
    found = measured(nuclei_of(disc(shape, (50, 50), 20) | disc(shape, (110, 50), 20) | bar))
    area = found["area"] / MPP**2
    assert found["concavities"] == 2
    assert found["lobulation"] == pytest.approx((20 - 4) / (2 * np.sqrt(area / np.pi)), rel=0.03)
    assert found["solidity"] < 0.8


@pytest.mark.parametrize("seed", range(4))
def test_sizes_and_shapes_are_those_of_scikit_image(seed):
    nuclei = nuclei_of(*blobs(seed))
    found = measure_cells(plain(nuclei.label_image.shape), nuclei, 1.0)
    for region, row in zip(regionprops(nuclei.label_image), found.values, strict=True):
        values = {name: row[i] for name, i in INDEX.items()}
        assert values["area"] == region.area
        assert values["perimeter"] == pytest.approx(region.perimeter_crofton)
        assert values["equivalent_diameter"] == pytest.approx(region.equivalent_diameter_area)
        assert values["major_axis"] == pytest.approx(region.axis_major_length)
        assert values["minor_axis"] == pytest.approx(region.axis_minor_length)
        assert values["eccentricity"] == pytest.approx(region.eccentricity)
        assert values["feret_max"] == pytest.approx(region.feret_diameter_max, abs=1)
        hull = convex_hull_image(np.pad(region.image, 1), offset_coordinates=False)
        assert values["solidity"] == pytest.approx(region.area / hull.sum(), abs=0.01)


@given(seed=st.integers(0, 10_000), turns=st.integers(0, 3), flipped=st.booleans())
@settings(max_examples=20, deadline=None)
def test_a_turned_or_mirrored_tile_has_the_same_sizes_and_shapes(seed, turns, flipped):
    masks = blobs(seed)
    turned = [np.rot90(mask[::-1] if flipped else mask, turns).copy() for mask in masks]
    before, after = (
        measure_cells(plain(each[0].shape), nuclei_of(*each), MPP).values[:, :N_SHAPE] for each in (masks, turned)
    )
    np.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-9)


@given(seed=st.integers(0, 10_000), mpp=st.floats(0.1, 2))
@settings(max_examples=10, deadline=None)
def test_sizes_grow_with_the_scale_and_shapes_do_not(seed, mpp):
    nuclei = nuclei_of(*blobs(seed))
    stains = plain(nuclei.label_image.shape)
    one, scaled = (measure_cells(stains, nuclei, scale).values for scale in (1.0, mpp))
    for name in LENGTHS:
        np.testing.assert_allclose(scaled[:, INDEX[name]], one[:, INDEX[name]] * mpp)
    np.testing.assert_allclose(scaled[:, INDEX["area"]], one[:, INDEX["area"]] * mpp**2)
    for name in ("eccentricity", "circularity", "solidity", "lobulation"):
        np.testing.assert_allclose(scaled[:, INDEX[name]], one[:, INDEX[name]])
