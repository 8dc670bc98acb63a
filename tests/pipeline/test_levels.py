import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.pipeline.decode import rescale
from app.pipeline.levels import Candidate, clean, divided, score, segment_by_levels, select
from app.pipeline.presets import DEFAULT
from app.pipeline.segment import segment, unmix
from app.pipeline.stain import optical_density
from tests.drawing import disc, discs, draw_tile, grid_of_centres

NUCLEAR_DENSITY = 45.0


def haematoxylin(density):
    """Intensity of an amount of stain: the inverse of optical density."""
    return np.clip(np.rint(256 ** (1 - np.asarray(density, float) / 255) - 1), 0, 255).astype(np.uint8)


def labels_of(density):
    return segment_by_levels(haematoxylin(density), NUCLEAR_DENSITY, DEFAULT)


def count(pixels):
    return len(segment(unmix(pixels, DEFAULT.stain), DEFAULT))


def test_pale_and_dark_nuclei_are_found_in_one_tile():
    shape = (100, 200)
    density = 12 + 35.0 * disc(shape, (50, 50), 15) + 90 * disc(shape, (140, 50), 12)
    labels = labels_of(density)
    assert labels.max() == 2
    assert labels[50, 50] == 1
    assert labels[50, 140] == 2


def test_touching_nuclei_are_parted_at_their_waist():
    shape = (100, 160)
    labels = labels_of(10 + 80.0 * discs(shape, [(60, 50), (89, 50)], 15))
    assert labels.max() == 2
    assert labels[50, 55] != labels[50, 95]


def test_open_nucleus_is_filled():
    shape = (100, 100)
    density = 10 + 80.0 * (disc(shape, (50, 50), 18) & ~disc(shape, (50, 50), 12))
    labels = labels_of(density)
    assert labels.max() == 1
    assert labels[50, 50] == 1


def test_lobes_on_a_bridge_are_one_nucleus():
    shape = (80, 100)
    lobes = discs(shape, [(42, 40), (56, 40)], 8) | (np.abs(np.indices(shape)[0] - 40) < 6) & disc(shape, (49, 40), 10)
    assert labels_of(10 + 100.0 * lobes).max() == 1


@pytest.mark.parametrize("density", [0, 10, 300])
def test_plain_tile_has_no_nucleus(density):
    assert labels_of(np.full((90, 120), density)).max() == 0


def test_speck_is_no_nucleus():
    assert labels_of(10 + 100.0 * disc((60, 60), (30, 30), 3)).max() == 0


def test_drawn_nuclei_are_found_where_they_were_drawn():
    centres = grid_of_centres()
    nuclei = segment(unmix(draw_tile(centres), DEFAULT.stain), DEFAULT)
    distances = np.linalg.norm(nuclei.centroids[:, None] - centres[None], axis=2)
    assert sorted(distances.argmin(axis=1)) == list(range(len(centres)))
    assert distances.min(axis=1).max() < 1.5


def candidate(area=500, solidity=1.0, edge=1.0, density=1.0, children=(), parts=()):
    return Candidate((0, 0), np.ones((1, 1), bool), area, solidity, edge, density, list(children), list(parts))


def test_score_by_hand():
    params = DEFAULT.score.model_copy(
        update={"bias": 1, "small_area_px": 100, "small": 2, "large_area_px": 1000, "large": 3, "shape": 10}
    )
    assert score(candidate(), params) == pytest.approx(1)
    assert score(candidate(solidity=0.8), params) == pytest.approx(1 - 2)
    assert score(candidate(area=round(1000 * np.e)), params) == pytest.approx(1 - 3, abs=1e-3)
    assert score(candidate(area=round(100 / np.e)), params) == pytest.approx(1 - 2, abs=0.02)
    assert score(candidate(edge=np.e), params) == pytest.approx(1 + params.edge)
    assert score(candidate(density=1 / np.e), params) == pytest.approx(1 - params.density)
    assert score(candidate(edge=0), params) == -np.inf


def test_object_gives_way_to_better_parts_and_not_to_worse():
    good, bad = [candidate(edge=2), candidate(edge=2)], [candidate(edge=2), candidate(edge=0.2)]
    assert select([candidate(parts=good)], DEFAULT.score) == good
    whole = candidate(parts=bad)
    assert select([whole], DEFAULT.score) == [whole]
    deep = candidate(solidity=0, children=[candidate(solidity=0, children=good)])
    assert select([deep], DEFAULT.score) == good


def test_what_is_too_large_takes_nothing_else_with_it():
    shape = (200, 300)
    density = np.full(shape, 25.0)
    density[discs(shape, [(30, 40), (80, 40), (30, 100), (80, 100), (30, 160)], 12)] += 60
    density[5:195, 150:250] += 90
    assert labels_of(density).max() == 5


@pytest.mark.parametrize("size", [18, 22, 30])
def test_glass_round_a_small_tile_is_no_hole(size):
    density = 10 + 80.0 * disc((size, size), (size // 2, size // 2), size // 2 - 2)
    small, framed = labels_of(density), labels_of(np.pad(density, 20))
    np.testing.assert_array_equal(framed[20:-20, 20:-20], small)
    assert small.max() == 1


def test_what_does_not_look_like_a_nucleus_is_not_selected():
    assert select([candidate(edge=0.01)], DEFAULT.score) == []


def test_rising_levels_stay_within_each_other():
    density = cv2.GaussianBlur(np.random.default_rng(0).random((200, 240)).astype(np.float32), (0, 0), 4)
    below = np.ones(density.shape, np.uint8)
    for level in np.quantile(density, [0.3, 0.5, 0.7, 0.9]):
        cleaned = clean((density > level).astype(np.uint8), DEFAULT)
        assert (cleaned <= below).all()
        below = cleaned


def test_parts_lie_within_the_object_and_do_not_overlap():
    mask = discs((70, 110), [(30, 30), (55, 38), (82, 30)], 15)
    parts = divided(mask, DEFAULT)
    assert len(parts) == 3
    painted = np.zeros(mask.shape, int)
    for part, (x, y) in parts:
        painted[y : y + part.shape[0], x : x + part.shape[1]] += part
    np.testing.assert_array_equal(painted, mask)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    blur=st.floats(0.5, 6),
    seed=st.integers(0, 2**32 - 1),
    nuclear_density=st.sampled_from([0.0, 20.0, 45.0, 255.0]),
)
def test_any_haematoxylin_gives_labels_without_gaps_in_reading_order(height, width, blur, seed, nuclear_density):
    noise = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), blur)
    spread = (smooth - smooth.min()) / max(float(np.ptp(smooth)), 1e-6)
    labels = segment_by_levels((spread * 255).astype(np.uint8), nuclear_density, DEFAULT)
    assert labels.shape == (height, width)
    assert labels.dtype == np.int32
    present, first = np.unique(labels[labels > 0], return_index=True)
    assert present.tolist() == list(range(1, len(present) + 1))
    assert (np.diff(first) > 0).all()


@pytest.fixture(scope="module")
def n_whole(real_tile):
    return count(real_tile)


@pytest.mark.parametrize("turned", [np.fliplr, np.flipud, np.rot90, lambda tile: np.rot90(tile, 2)])
def test_turned_tile_has_the_same_count(real_tile, n_whole, turned):
    assert abs(count(np.ascontiguousarray(turned(real_tile))) - n_whole) <= 0.01 * n_whole


@pytest.mark.parametrize("strength", [0.9, 1.1])
def test_stain_strength_leaves_the_count(real_tile, n_whole, strength):
    assert abs(count(haematoxylin(optical_density(real_tile) * strength)) - n_whole) <= 0.05 * n_whole


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_jpeg_leaves_the_count(real_tile, n_whole, subsampling):
    buffer = io.BytesIO()
    Image.fromarray(real_tile).save(buffer, "JPEG", quality=85, subsampling=subsampling)
    assert abs(count(np.asarray(Image.open(buffer))) - n_whole) <= 0.03 * n_whole


@pytest.mark.parametrize("margins", [((40, 0), (0, 0)), ((37, 80), (64, 11))])
def test_white_round_a_tile_changes_no_nucleus(real_tile, margins):
    (top, bottom), (left, right) = margins
    framed = np.pad(real_tile, (*margins, (0, 0)), constant_values=255)
    plain = segment(unmix(real_tile, DEFAULT.stain), DEFAULT)
    padded = segment(unmix(framed, DEFAULT.stain), DEFAULT)
    height, width = framed.shape[:2]
    np.testing.assert_array_equal(padded.labels[top : height - bottom, left : width - right], plain.labels)


def test_half_the_resolution_leaves_the_count(real_tile, n_whole):
    coarse = cv2.resize(real_tile, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    assert abs(count(rescale(coarse, 2.0, max_pixels=2_000_000)) - n_whole) <= 0.05 * n_whole


def test_two_runs_are_identical(real_tile):
    first, second = (segment(unmix(real_tile, DEFAULT.stain), DEFAULT) for _ in range(2))
    np.testing.assert_array_equal(first.labels, second.labels)


@pytest.mark.parametrize("shade", [0, 5])
def test_black_frame_neither_is_a_nucleus_nor_moves_the_others(real_tile, n_whole, shade):
    framed = np.pad(real_tile, ((12, 12), (12, 12), (0, 0)), constant_values=shade)
    assert abs(count(framed) - n_whole) <= 0.02 * n_whole
