from dataclasses import fields, replace

import numpy as np
import pytest

from app.pipeline.errors import UnsuitableTiles
from app.pipeline.quality.assess import judge
from app.pipeline.quality.measure import measure_quality
from app.pipeline.quality.reference import (
    CLIPPED_FLOOR,
    SQUARE_SIDES,
    SQUARES_PER_TILE,
    STAIN_FLOOR,
    Views,
    fit_reference,
    random_square,
    stack_views,
)
from app.pipeline.stain.unmix import unmix
from tests.drawing import draw_tile, grid_of_centres


@pytest.fixture
def views(cells) -> Views:
    return cells.views


def test_each_tile_has_its_own_row_and_those_of_its_crops(views):
    assert np.bincount(views.tile_index).tolist() == [1 + SQUARES_PER_TILE] * 3
    assert views.stain.shape == (3 * (1 + SQUARES_PER_TILE), 12)
    assert views.hue_deg.shape == (len(views.stain), 2)
    assert (views.hue_deg[:, 0] < views.hue_deg[:, 1]).all()


def test_views_survive_storage_beside_other_arrays(views):
    found = Views.from_arrays({**views.as_arrays(), "crops": np.zeros(3)})
    for field in fields(Views):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(views, field.name))


@pytest.mark.parametrize("shape", [(1200, 1200), (500, 1500), (300, 900), (1, 1), (1, 2000)])
def test_square_is_within_the_tile_and_of_the_sizes_that_are_wanted(shape):
    random = np.random.default_rng(0)
    for _ in range(50):
        down, across = random_square(shape, random)
        side = down.stop - down.start
        assert across.stop - across.start == side
        assert min(SQUARE_SIDES[0], *shape) <= side <= min(SQUARE_SIDES[1], *shape)
        assert 0 <= down.start <= down.stop <= shape[0]
        assert 0 <= across.start <= across.stop <= shape[1]


def test_no_training_view_passes_a_limit(views, cells):
    reference = fit_reference(views, cells.stain_matrices)
    assert np.nanmin(views.focus) > reference.min_focus
    assert np.nanmax(views.blockiness) < reference.max_blockiness
    assert views.tissue_fraction.min() > reference.min_tissue_fraction
    assert views.clipped.max() < reference.max_clipped
    assert reference.hue_range_deg[0] < views.hue_deg.min()
    assert views.hue_deg.max() < reference.hue_range_deg[1]
    low, high = reference.nuclear_radius_range_px
    assert low < np.nanmin(views.nuclear_radius_px)
    assert np.nanmax(views.nuclear_radius_px) < high
    low, high = reference.radius_over_focus_range_px
    assert low < np.nanmin(views.nuclear_radius_px / views.focus)
    assert np.nanmax(views.nuclear_radius_px / views.focus) < high
    deviations = (views.stain - np.array(reference.stain_centre)) / np.array(reference.stain_scale)
    assert np.sqrt(np.square(deviations).mean(axis=1)).max() < reference.max_stain_distance


def test_tile_like_the_training_tiles_raises_no_flag(views, cells):
    tile = draw_tile(grid_of_centres(), seed=77)
    measures = measure_quality(tile, tile, unmix(tile, cells.segmentation.stain), cells.segmentation.stain)
    reference = fit_reference(views, cells.stain_matrices)
    assert judge(measures, reference, stained=True, mpp_known=True).flags == ()


def test_tile_that_stands_apart_widens_the_limit(views, cells):
    stain = views.stain.copy()
    stain[views.tile_index == 2] += 0.5
    apart = fit_reference(replace(views, stain=stain), cells.stain_matrices)
    assert apart.max_stain_distance > 2 * fit_reference(views, cells.stain_matrices).max_stain_distance


def test_reference_of_one_tile_has_the_least_limits(views, cells):
    one = fit_reference(views.only(views.tile_index == 0), cells.stain_matrices[:1])
    assert one.max_stain_distance >= STAIN_FLOOR
    assert one.max_clipped >= CLIPPED_FLOOR
    assert min(one.stain_scale) > 0


def test_blank_tile_among_the_training_tiles_changes_nothing(views, cells):
    unseen = {field.name: np.full_like(getattr(views, field.name)[:2], np.nan) for field in fields(Views)[1:]}
    blank = Views(tile_index=np.array([3, 3]), **unseen)
    both = Views(
        **{field.name: np.concatenate([getattr(v, field.name) for v in (views, blank)]) for field in fields(Views)}
    )
    assert fit_reference(both, cells.stain_matrices) == fit_reference(views, cells.stain_matrices)


@pytest.mark.parametrize("field", [field.name for field in fields(Views)[1:]])
def test_what_no_tile_shows_is_an_error_that_names_it(field, views, cells):
    unseen = replace(views, **{field: np.full_like(getattr(views, field), np.nan)})
    with pytest.raises(UnsuitableTiles, match=field):
        fit_reference(unseen, cells.stain_matrices)


def test_rows_are_stacked_in_order(views):
    rows = [{field.name: getattr(views, field.name)[i] for field in fields(Views)} for i in (5, 2)]
    np.testing.assert_array_equal(stack_views(rows).focus, views.focus[[5, 2]])
