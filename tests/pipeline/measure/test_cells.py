"""Neighbours, and what cannot be measured: null with its reason, and never NaN without one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.pipeline.measure.cells import measure_cells
from app.pipeline.measure.table import (
    CYTOPLASM,
    DENSITY,
    INDEX,
    MEASUREMENTS,
    REASON_TEXTS,
    REASONS,
    SHAPE,
)
from app.pipeline.nuclei.measure import measure
from app.pipeline.stain.unmix import unstained
from tests.drawing import disc
from tests.pipeline.measure.drawn_nuclei import measured, nuclei_of, plain

TILE = (400, 400)


def reason_of(found, name, row=0):
    return found.reason(row, INDEX[name])


def dots(*centres, shape=TILE, radius=5):
    return nuclei_of(*(disc(shape, centre, radius) for centre in centres))


def test_neighbours_are_measured_from_centre_to_centre():
    """The first has one 20 px (5 µm) away, and one just within, and one just beyond, 100 px (25 µm)."""
    nuclei = dots((200, 200), (220, 200), (200, 299), (200, 99))
    found = measured(nuclei)
    assert found["neighbour_distance"] == pytest.approx(5)
    assert found["neighbours_within_25_um"] == 2


def test_neighbours_beyond_the_border_are_not_taken_to_be_absent():
    nuclei = dots((30, 200), (90, 200))
    found = measure_cells(plain(TILE), nuclei, 0.25)
    assert reason_of(found, "neighbour_distance") == "near_border"  # 60 px to the other, 30.5 px to the border
    assert found.column("neighbour_distance")[1] == pytest.approx(15)
    assert reason_of(found, "neighbours_within_25_um", 1) == "near_border"


def test_a_nucleus_alone_has_no_nearest_one():
    found = measure_cells(plain(TILE), dots((200, 200)), 0.25)
    assert reason_of(found, "neighbour_distance") == "no_neighbour"
    assert found.column("neighbours_within_25_um")[0] == 0


def test_a_nucleus_that_the_border_cuts_has_densities_but_no_size_and_no_shape():
    found = measure_cells(plain(TILE), dots((3, 200), (200, 200)), 0.25)
    assert {reason_of(found, one.name) for one in SHAPE} == {"touches_border"}
    assert np.isfinite(found.values[0, [INDEX[one.name] for one in DENSITY]]).all()
    assert np.isfinite(found.values[1, [INDEX[one.name] for one in SHAPE]]).all()


@pytest.mark.parametrize(
    ("rows", "columns", "has_density"),
    [(1, 1, False), (1, 3, False), (1, 20, True), (20, 1, True), (2, 2, False)],
)
def test_a_dot_and_a_line_have_an_area_and_no_shape(rows, columns, has_density):
    mask = np.zeros(TILE, bool)
    mask[100 : 100 + rows, 100 : 100 + columns] = True
    found = measure_cells(plain(TILE), nuclei_of(mask), 0.25)
    assert found.column("area")[0] == rows * columns / 16
    assert found.column("equivalent_diameter")[0] > 0
    others = [one.name for one in SHAPE if one.name not in ("area", "equivalent_diameter")]
    assert {reason_of(found, name) for name in others} == {"too_few_pixels"}
    assert (reason_of(found, "haematoxylin_od_mean") == "") == has_density


def test_without_two_stains_there_are_shapes_and_no_densities():
    stains = unstained(np.full((*TILE, 3), 200, np.uint8), np.ones(TILE, bool))
    found = measure_cells(stains, dots((200, 200)), 0.25)
    assert np.isfinite(found.column("area")[0])
    assert {reason_of(found, one.name) for one in (*DENSITY, *CYTOPLASM)} == {"no_stain"}


def test_a_nucleus_on_glass_has_no_cytoplasm():
    nucleus = disc(TILE, (200, 200), 8)
    stains = plain(TILE)
    on_glass = type(stains)(stains.normalised, nucleus, stains.stain_matrix, stains.separated)
    found = measure_cells(on_glass, nuclei_of(nucleus), 0.25)
    assert {reason_of(found, one.name) for one in CYTOPLASM} == {"no_cytoplasm"}


def test_a_tile_without_nuclei_has_no_rows():
    found = measure_cells(plain(TILE), measure(np.zeros(TILE, np.int32)), 0.25)
    assert found.values.shape == found.reasons.shape == (0, len(MEASUREMENTS))


@given(labels=st.integers(0, 2**32 - 1), shape=st.tuples(st.integers(1, 24), st.integers(1, 24)))
@settings(max_examples=60, deadline=None)
def test_whatever_nuclei_there_are_each_value_is_finite_or_has_a_reason(labels, shape):
    """Nuclei of any pixels, also in several pieces: an upload may hold them."""
    random = np.random.default_rng(labels)
    image = random.integers(0, 5, shape) * (random.random(shape) < 0.6)
    _, dense = np.unique(np.append(image.ravel(), 0), return_inverse=True)
    nuclei = measure(dense[:-1].reshape(shape).astype(np.int32))
    found = measure_cells(plain(shape), nuclei, 0.25)
    assert np.array_equal(np.isfinite(found.values), found.reasons == 0)
    assert not np.isinf(found.values).any()


def test_nuclei_are_measured_alike_whatever_lies_elsewhere_in_the_tile():
    """A nucleus alone in its tile, and the same among others far away."""
    alone, among = dots((200, 200)), dots((200, 200), (300, 300), (60, 340))
    first, second = (measure_cells(plain(TILE), nuclei, 0.25).values[0] for nuclei in (alone, among))
    same = [i for i, one in enumerate(MEASUREMENTS) if one.group != "neighbours"]
    np.testing.assert_array_equal(first[same], second[same])


def test_values_are_shown_in_pixels_where_the_scale_is_not_known():
    found = measure_cells(plain(TILE), dots((200, 200), (240, 200)), 0.25)
    in_um, in_px = (dict(zip(INDEX, found.shown(known)[0], strict=True)) for known in (True, False))
    assert in_px["area"] == pytest.approx(in_um["area"] * 16, abs=0.02)
    assert in_px["neighbour_distance"] == 40
    assert in_px["haematoxylin_od_mean"] == in_um["haematoxylin_od_mean"]


def test_every_measurement_has_a_name_of_its_own_in_every_format_and_a_definition():
    for scale_known in (True, False):
        assert len({one.column(scale_known) for one in MEASUREMENTS}) == len(MEASUREMENTS)
        assert len({one.qupath_name(scale_known) for one in MEASUREMENTS}) == len(MEASUREMENTS)
    assert len({one.title for one in MEASUREMENTS}) == len(MEASUREMENTS)
    assert all(one.definition.endswith(".") for one in MEASUREMENTS)
    assert set(REASONS[1:]) == set(REASON_TEXTS)
    names = {one.name: one for one in MEASUREMENTS}
    assert names["area"].qupath_name(scale_known=True) == "Nucleus: Area µm^2"
    assert names["circularity"].qupath_name(scale_known=True) == "Nucleus: Circularity"
