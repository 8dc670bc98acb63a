import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import regionprops

from training.study.protocols.drawn_nuclei import DENSITY, DIAMETERS_PX, LARGE_PX, draw_tile


@pytest.fixture(scope="module")
def tile():
    return draw_tile(3)


def areas_of(tile):
    return np.bincount(tile.label_image.ravel())[1:]


def test_a_tile_is_drawn_again_from_its_seed(tile):
    again = draw_tile(3)
    np.testing.assert_array_equal(tile.pixels, again.pixels)
    np.testing.assert_array_equal(tile.label_image, again.label_image)
    assert tile.nuclei == again.nuclei
    assert (draw_tile(4).label_image != tile.label_image).any()


def test_nuclei_have_the_area_of_their_size(tile):
    """Those of a pair lose what lies beyond the waist: 5% of a disc is cut off at 0.4 of its diameter."""
    for nucleus, area in zip(tile.nuclei, areas_of(tile).tolist(), strict=True):
        if nucleus.situation == "lobed" or nucleus.diameter_px < 16:
            continue
        whole = np.pi * nucleus.diameter_px**2 / 4
        assert area == pytest.approx(whole * (0.948 if nucleus.situation == "pair" else 1), rel=0.06), nucleus


def test_every_size_is_there_alone_in_every_density(tile):
    alone = {(each.diameter_px, each.darkness) for each in tile.nuclei if each.situation == "alone"}
    assert {(diameter, darkness) for diameter in DIAMETERS_PX for darkness in DENSITY} <= alone
    assert {diameter for diameter, _ in alone} & set(LARGE_PX) == {240}


def test_a_situation_is_what_its_name_says(tile):
    """A nucleus is in one piece, also a lobed one; only those of a pair touch another one."""
    for nucleus, region in zip(tile.nuclei, regionprops(tile.label_image), strict=True):
        top, left, bottom, right = region.bbox
        around = tile.label_image[top - 2 : bottom + 2, left - 2 : right + 2]
        seen = around == region.label
        assert ndimage.label(seen)[1] == 1, nucleus
        assert len(np.unique(around[ndimage.binary_dilation(seen)])) - 2 == (nucleus.situation == "pair"), nucleus
        if nucleus.diameter_px >= 16:
            assert (region.solidity < 0.9) == (nucleus.situation == "lobed"), nucleus


def test_darker_nuclei_let_less_light_through(tile):
    red = tile.pixels[..., 0].astype(float)
    light = {
        darkness: np.mean(
            [
                np.median(red[tile.label_image == label])
                for label, each in enumerate(tile.nuclei, start=1)
                if each.darkness == darkness and each.diameter_px >= 24
            ]
        )
        for darkness in DENSITY
    }
    assert light["pale"] > 1.3 * light["medium"] > 1.3 * 1.3 * light["dark"]
