"""The tissue of a slide: tiles must not change its shares, and each region has those of its own places."""

import json

import numpy as np
import pytest
import shapely

from app.batch.analyse.composition import SlideTissue, slide_tissue
from app.batch.plan import grid
from app.pipeline.tissue.classes import BACKGROUND, CLASSES, FAT
from tests.batch.one_slide import OneSlide, prepared
from tests.batch.read.drawn_slides import write_striped
from tests.drawing import discs, draw_tile

WIDTH, HEIGHT, MARROW_PX = 2000, 1200, 1200
VACUOLE_PX = 90
"""The radius of a fat vacuole: 22.5 µm."""
VACUOLES = [(x, y) for y in range(140, HEIGHT, 300) for x in range(150, MARROW_PX - 100, 300)]
LEFT, RIGHT = shapely.box(0, 0, 600, HEIGHT), shapely.box(900, 0, WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def fat():
    return discs((HEIGHT, WIDTH), VACUOLES, VACUOLE_PX)


@pytest.fixture(scope="module")
def path(tmp_path_factory, fat):
    """A slide of marrow with round vacuoles on the left, and glass on the right, wider than any vacuole."""
    wall = discs((HEIGHT, WIDTH), VACUOLES, VACUOLE_PX + 14)
    places = [(x, y) for y in range(16, HEIGHT, 32) for x in range(16, MARROW_PX - 8, 32) if not wall[y, x]]
    pixels = draw_tile(places, shape=(HEIGHT, WIDTH))
    pixels[fat] = 250
    pixels[:, MARROW_PX:] = 250
    return write_striped(tmp_path_factory.mktemp("tissue") / "a.tif", pixels)


def analysed(folder, path, bundle, tile_px, **options) -> OneSlide:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "TILE_PX", tile_px)
        patch.setattr(grid, "ONE_TILE_PX", 1)
        return prepared(folder, path, bundle, **options).analyse()


@pytest.fixture(scope="module")
def slide(tmp_path_factory, path, bundle):
    return analysed(tmp_path_factory.mktemp("slide") / "run", path, bundle, 304)


@pytest.fixture(scope="module")
def composition(slide) -> SlideTissue:
    return slide_tissue(slide.folder, slide.plan)


def test_shares_are_those_of_the_drawing(slide, composition, fat):
    assert len(slide.plan.tiles) == 16
    found = dict(zip(CLASSES, composition.whole.shares, strict=True))
    assert found["fat"] == pytest.approx(fat.mean(), abs=0.03)
    assert found["background"] == pytest.approx(1 - MARROW_PX / WIDTH, abs=0.03)
    assert found["haematopoietic"] == pytest.approx(MARROW_PX / WIDTH - fat.mean(), abs=0.03)
    # Every place counts once, also where no tile was analysed.
    assert composition.whole.amounts.sum() == pytest.approx(WIDTH * HEIGHT, rel=1e-3)


@pytest.mark.parametrize("tile_px", [608, 1600])
def test_tiles_of_any_size_give_the_same_shares(tmp_path, path, bundle, composition, tile_px):
    other = analysed(tmp_path / "run", path, bundle, tile_px)
    found = slide_tissue(other.folder, other.plan)
    np.testing.assert_allclose(found.whole.shares, composition.whole.shares, atol=0.01)
    assert found.classes.shape == composition.classes.shape
    assert (found.classes == composition.classes).mean() > 0.97


def test_map_shows_each_place_where_it_is(composition, fat):
    height, width = composition.classes.shape
    assert (height, width) == (HEIGHT // 4, WIDTH // 4)
    for x, y in VACUOLES:
        assert composition.classes[y // 4, x // 4] == FAT
    assert (composition.classes[:, MARROW_PX // 4 + 8 :] == BACKGROUND).all()


def test_regions_have_the_tissue_of_their_own_places(tmp_path, path, bundle, fat):
    features = [{"type": "Feature", "geometry": shapely.geometry.mapping(area)} for area in (LEFT, RIGHT)]
    (tmp_path / "r.geojson").write_text(json.dumps(features))
    some = analysed(tmp_path / "run", path, bundle, 304, regions=tmp_path / "r.geojson")
    found = slide_tissue(some.folder, some.plan)
    left, right = (region.shares for region in found.regions)
    assert left[FAT] == pytest.approx(fat[:, :600].mean(), abs=0.03)
    assert left[BACKGROUND] < 0.02
    assert right[BACKGROUND] == pytest.approx((WIDTH - MARROW_PX) / (WIDTH - 900), abs=0.03)
    assert right[FAT] == pytest.approx(fat[:, 900:].mean(), abs=0.03)
    np.testing.assert_allclose(found.whole.amounts, sum(region.amounts for region in found.regions), rtol=1e-3)
    assert [region.amounts.sum() for region in found.regions] == pytest.approx([LEFT.area, RIGHT.area], rel=0.01)
    assert found.regions[0].area_mm2 == pytest.approx(LEFT.area * 0.25**2 / 1e6, rel=0.01)
