from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from app.pipeline.errors import InvalidBundle
from app.pipeline.networks.architecture import Segmenter
from app.pipeline.nuclei.network import (
    GRID_PX,
    REACH_PX,
    divide,
    in_reading_order,
    predict_maps,
    reduce_tile,
    segment_by_network,
)
from app.pipeline.nuclei.segment import segment
from app.pipeline.presets import DEFAULT, LEARNED
from app.pipeline.stain.unmix import unmix
from app.pipeline.types import Later
from tests.drawing import disc, draw_tile, grid_of_centres
from training.segmenter.agreement import as_map_network


def ideal_maps(*nuclei):
    """The maps of a network that makes no error, of nuclei drawn at the tile's scale."""
    shape = nuclei[0].shape
    depth = np.zeros(shape, np.float32)
    for nucleus in nuclei:
        distance = cv2.distanceTransform(nucleus.astype(np.uint8), cv2.DIST_L2, 5)
        depth = np.maximum(depth, distance / distance.max())
    maps = (np.any(nuclei, axis=0).astype(np.float32), depth)
    return np.stack([cv2.resize(each, (shape[1] // 2, shape[0] // 2), interpolation=cv2.INTER_AREA) for each in maps])


def ellipse(shape, centre, major_px, minor_px, angle):
    y, x = np.indices(shape)
    across, down = x - centre[0], y - centre[1]
    along = across * np.cos(angle) + down * np.sin(angle)
    beside = down * np.cos(angle) - across * np.sin(angle)
    return (2 * along / major_px) ** 2 + (2 * beside / minor_px) ** 2 <= 1


@pytest.fixture(scope="module")
def network():
    """A network that has learned nothing, but whose maps depend on all that it can see."""
    torch.manual_seed(0)
    net = Segmenter(4).eval()

    return as_map_network(net, torch.device("cpu"))


def stained_by_density(pixels):
    """A "network" that takes what lets little red through for a nucleus, and the darkest of it for its core."""
    darkness = cv2.GaussianBlur(1 - pixels[..., 0] / np.float32(255), (0, 0), 2)
    return np.stack([darkness > 0.3, np.clip(darkness * 2, 0, 1)]).astype(np.float32)


@pytest.mark.parametrize("major_px", [10, 12, 20, 35, 60])
@pytest.mark.parametrize("minor", [1.0, 0.7])
def test_outlines_have_the_area_of_the_nucleus(major_px, minor):
    minor_px = max(9, major_px * minor)
    found_px = drawn_px = 0
    for i in range(8):
        drawn = ellipse((90, 100), (50 + i / 8, 45 - i / 5), major_px, minor_px, i)
        found = divide(ideal_maps(drawn), drawn.shape, LEARNED)
        assert found.max() == 1
        found_px, drawn_px = found_px + (found > 0).sum(), drawn_px + drawn.sum()
    assert found_px == pytest.approx(drawn_px, rel=0.05)


def test_touching_nuclei_are_divided_where_they_touch():
    left, right = disc((60, 100), (35, 30), 15), disc((60, 100), (62, 30), 15)
    found = divide(ideal_maps(left, right), left.shape, LEARNED)
    assert found.max() == 2
    assert (found[:, :48] != 2).all()
    assert (found[:, 50:] != 1).all()


def test_turned_and_mirrored_maps_give_the_same_nuclei():
    nuclei = [disc((120, 120), centre, 9) for centre in ((20, 30), (36, 32), (80, 50), (70, 90), (30, 99))]
    maps = ideal_maps(*nuclei)
    for turned in (maps[:, ::-1], maps[:, :, ::-1], maps.transpose(0, 2, 1)):
        assert divide(np.ascontiguousarray(turned), (120, 120), LEARNED).max() == len(nuclei)


def test_blocks_give_the_maps_of_the_whole(network):
    tile = draw_tile(grid_of_centres())[:150, :173]
    whole = predict_maps(tile, network)
    assert whole.shape == (2, 150, 173)
    np.testing.assert_allclose(predict_maps(tile, network, block_px=8 * GRID_PX), whole, atol=1e-5)


@pytest.mark.parametrize(("size_px", "parts_px"), [(64, [64]), (65, [40, 32]), (150, [56, 56, 40]), (1, [8])])
def test_blocks_are_about_equally_large(size_px, parts_px):
    asked = []

    def network(pixels):
        asked.append(pixels.shape[1] - 2 * REACH_PX)
        return np.zeros((2, *pixels.shape[:2]), np.float32)

    predict_maps(np.zeros((8, size_px, 3), np.uint8), network, block_px=8 * GRID_PX)
    assert asked == parts_px


def test_white_round_a_tile_changes_nothing(network):
    tile = draw_tile(grid_of_centres())
    margin = 3 * GRID_PX
    padded = np.pad(tile, ((margin, margin), (margin, margin), (0, 0)), constant_values=255)
    inner = predict_maps(padded, network)[:, margin:-margin, margin:-margin]
    np.testing.assert_allclose(inner, predict_maps(tile, network), atol=1e-5)


def test_maps_depend_on_no_pixel_beyond_the_reach(network):
    tile = draw_tile(grid_of_centres())
    changed = tile.copy()
    changed[:, :40] = 0
    same = np.isclose(predict_maps(changed, network), predict_maps(tile, network), atol=1e-6)
    assert same[:, :, 40 + REACH_PX :].all()
    assert not same[:, :, :40].all()


def test_nuclei_of_a_tile_are_found_at_its_own_scale():
    centres = grid_of_centres((201, 241))
    stain = unmix(draw_tile(centres, shape=(201, 241)), LEARNED.stain)
    nuclei = segment_by_network(stain, stained_by_density, LEARNED)
    assert nuclei.label_image.shape == (201, 241)
    found = nuclei.centroids[np.lexsort(np.rint((nuclei.centroids - 22) / 40).T)]
    np.testing.assert_allclose(found, centres, atol=2)


def test_what_is_added_to_reduce_a_tile_is_white():
    black = np.zeros((3, 5, 3), np.uint8)
    reduced = reduce_tile(black, 2)
    assert reduced.shape == (2, 3, 3)
    assert reduced[..., 0].tolist() == [[0, 0, 128], [128, 128, 191]]


def test_objects_are_numbered_in_reading_order_without_the_small_ones():
    label_image = np.array([[0, 7, 7, 2], [4, 4, 0, 2], [4, 0, 5, 0]], np.int32)
    assert in_reading_order(label_image, min_area_px=2).tolist() == [[0, 1, 1, 2], [3, 3, 0, 2], [3, 0, 0, 0]]


def test_a_bundle_without_the_network_is_refused():
    stain = unmix(draw_tile(grid_of_centres()), LEARNED.stain)
    with pytest.raises(InvalidBundle, match="has none"):
        segment(stain, LEARNED)
    assert len(segment(stain, LEARNED, stained_by_density)) == len(segment(stain, DEFAULT))


def test_a_network_finds_nuclei_without_the_haematoxylin():
    stain = unmix(draw_tile(grid_of_centres()), LEARNED.stain)
    untouched = replace(stain, separated=Later(lambda: pytest.fail("the haematoxylin was made")))
    assert len(segment(untouched, LEARNED, stained_by_density)) == len(segment(stain, DEFAULT))
