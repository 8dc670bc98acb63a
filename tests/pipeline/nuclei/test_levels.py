import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.pipeline.geometry import rescale
from app.pipeline.nuclei.levels import PIECE, clean, grow, rank, score, segment_by_levels, select
from app.pipeline.nuclei.objects import ObjectMeasures
from app.pipeline.nuclei.segment import segment
from app.pipeline.presets import DEFAULT
from app.pipeline.stain.optical_density import density_image, optical_density
from app.pipeline.stain.unmix import unmix
from tests.drawing import disc, discs, draw_tile, grid_of_centres

NUCLEAR_DENSITY = 45.0


def haematoxylin(density):
    """Intensity of an amount of stain: the inverse of optical density."""
    return np.clip(np.rint(256 ** (1 - np.asarray(density, float) / 255) - 1), 0, 255).astype(np.uint8)


def labels_of(density):
    return segment_by_levels(haematoxylin(density), NUCLEAR_DENSITY, DEFAULT).label_image


def count(pixels):
    return len(segment(unmix(pixels, DEFAULT.stain), DEFAULT))


def test_pale_and_dark_nuclei_are_found_in_one_tile():
    shape = (100, 200)
    density = 12 + 35.0 * disc(shape, (50, 50), 15) + 90 * disc(shape, (140, 50), 12)
    labels = labels_of(density)
    assert labels.max() == 2
    assert labels[50, 50] == 1
    assert labels[50, 140] == 2


def test_touching_nuclei_are_split_at_their_waist():
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


@pytest.mark.parametrize("radius", [8, 10, 12, 16, 20, 25, 30])
@pytest.mark.parametrize("density", [60, 90, 130])
def test_a_nucleus_has_its_outline_half_way_to_its_surroundings(radius, density):
    """Alone, and with a smaller one beside it, which must not change its outline; edges are as soft as real ones."""
    centre, shape = (60.3, 60.4), (120, 160)
    for others in ([], [(60.3 + radius + 16, 60.4)]):
        amount = disc(shape, centre, radius) | (discs(shape, others, 9) if others else False)
        labels = labels_of(cv2.GaussianBlur(10 + (density - 10.0) * amount, (0, 0), 1.5))
        area = (labels == labels[60, 60]).sum()
        assert labels[60, 60] > 0
        assert area == pytest.approx(np.pi * radius**2, rel=0.08), others


def test_outlines_that_move_do_not_overlap_and_none_is_lost(real_tile):
    stains = unmix(real_tile, DEFAULT.stain)
    stays = segment(stains, DEFAULT.model_copy(update={"outline": None}))
    moved = segment(stains, DEFAULT)
    assert len(moved) == len(stays)
    assert 0.8 < moved.areas_px.sum() / stays.areas_px.sum() < 1.2
    # Each lies in, or round, the nucleus that it was.
    pairs = np.unique(
        np.stack([moved.label_image, stays.label_image])[:, (moved.label_image > 0) & (stays.label_image > 0)], axis=1
    )
    assert sorted(set(pairs[0].tolist())) == list(range(1, len(moved) + 1))


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


def score_of(params=DEFAULT.score, area=500, solidity=1.0, edge=1.0, density=1.0):
    one = ObjectMeasures(*(np.array([value]) for value in (area, solidity, edge, density)))
    return score(one, params).item()


def test_score_by_hand():
    params = DEFAULT.score.model_copy(
        update={"bias": 1, "small_area_px": 100, "small": 2, "large_area_px": 1000, "large": 3, "shape": 10}
    )
    assert score_of(params) == pytest.approx(1)
    assert score_of(params, solidity=0.8) == pytest.approx(1 - 2)
    assert score_of(params, area=round(1000 * np.e)) == pytest.approx(1 - 3, abs=1e-3)
    assert score_of(params, area=round(100 / np.e)) == pytest.approx(1 - 2, abs=0.02)
    assert score_of(params, edge=np.e) == pytest.approx(1 + params.edge)
    assert score_of(params, density=1 / np.e) == pytest.approx(1 - params.density)
    assert score_of(params, edge=0) == -np.inf


def selected(*rows):
    """Rows that are kept of (score, parent, level)."""
    scores, parents, levels = (np.array(column) for column in zip(*rows, strict=True))
    return np.flatnonzero(select(scores.astype(float), parents, levels)).tolist()


def test_object_gives_way_to_better_pieces_and_not_to_worse():
    assert selected((1, -1, 1), (2, 0, PIECE), (3, 0, PIECE)) == [1, 2]
    assert selected((1, -1, 1), (4, 0, PIECE), (-5, 0, PIECE)) == [0]
    # By way of a child that is itself split.
    assert selected((1, -1, 1), (-9, 0, 2), (2, 1, PIECE), (3, 1, PIECE)) == [2, 3]
    # Children or pieces, whichever are better on average; of equals the object comes first, then its children.
    assert selected((1, -1, 1), (2, 0, 2), (3, 0, PIECE)) == [2]
    assert selected((1, -1, 1), (3, 0, 2), (3, 0, PIECE)) == [1]
    assert selected((3, -1, 1), (3, 0, 2), (3, 0, PIECE)) == [0]


def test_object_that_cannot_be_a_nucleus_does_not_count_in_the_mean_of_its_siblings():
    assert selected((1, -1, 1), (-np.inf, 0, 2), (2, 0, 2)) == [2]
    assert selected((-np.inf, -1, 1), (-1, 0, 2)) == []
    assert selected((-0.5, -1, 1)) == []


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


def smooth_noise(shape, sigma, seed=0):
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random(shape).astype(np.float32), (0, 0), sigma)
    framed = np.zeros(shape, np.float32)
    framed[9:-9, 9:-9] = noise[9:-9, 9:-9]
    return framed


def test_all_levels_cleaned_at_once_are_each_level_cleaned_by_itself():
    density = smooth_noise((220, 260), 3)
    levels = tuple(np.quantile(density[9:-9, 9:-9], [0.2, 0.4, 0.6, 0.8, 0.95]))
    ranks = clean(rank(density, levels), DEFAULT)
    assert set(np.unique(ranks)) > {0, 1, 2}
    for i, level in enumerate(levels, start=1):
        alone = clean(rank(density, (level,)), DEFAULT)
        np.testing.assert_array_equal(ranks >= i, alone > 0)


def one_by_one(ranks, density):
    """Area, solidity, edge and density of every object of every level, each found and measured by itself."""
    gradient = cv2.magnitude(cv2.Scharr(density, cv2.CV_32F, 1, 0), cv2.Scharr(density, cv2.CV_32F, 0, 1)) / 32
    for level in range(1, ranks.max() + 1):
        number, labels = cv2.connectedComponents((ranks >= level).astype(np.uint8))
        for i in range(1, number):
            mask = (labels == i).astype(np.uint8)
            outline = max(cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0], key=len)
            # The rim adds half a pixel all round: the outline goes through the centres of pixels.
            filled, hull = (cv2.contourArea(p) + len(outline) / 2 + 1 for p in (outline, cv2.convexHull(outline)))
            edge = gradient[outline[:, 0, 1], outline[:, 0, 0]].mean()
            yield level, mask.sum(), filled / hull, edge, density[mask > 0].mean()


def test_objects_measured_at_once_are_those_measured_one_by_one(real_tile):
    stains = unmix(real_tile[:500, :500], DEFAULT.stain)
    framed = np.pad(stains.haematoxylin, 9, constant_values=255)
    density = density_image(framed, DEFAULT.smoothing_px) / np.float32(stains.estimate.nuclear_density)
    tree = grow(density, DEFAULT)
    ours = np.column_stack([tree.levels, *(getattr(tree.measures, n) for n in ObjectMeasures.__slots__)])
    ours = ours[(tree.levels != PIECE) & (tree.measures.area_px <= DEFAULT.max_area_px)]
    expected = np.array(list(one_by_one(clean(rank(density, DEFAULT.levels), DEFAULT), density)))
    expected = expected[(expected[:, 1] >= DEFAULT.min_area_px) & (expected[:, 1] <= DEFAULT.max_area_px)]
    assert len(ours) > 300
    ours, expected = (rows[np.lexsort((rows[:, 4].round(4), rows[:, 1], rows[:, 0]))] for rows in (ours, expected))
    np.testing.assert_array_equal(ours[:, :2], expected[:, :2])
    np.testing.assert_allclose(ours[:, 4], expected[:, 4], rtol=1e-4)
    # An outline that comes by the same pixel twice counts it twice, we once: in few objects, and then by little.
    same = np.isclose(ours[:, 2:4], expected[:, 2:4], rtol=1e-4).all(axis=1)
    assert same.mean() > 0.98
    np.testing.assert_allclose(ours[:, 2:4], expected[:, 2:4], rtol=0.05)


def test_parents_hold_their_objects(real_tile):
    framed = np.pad(unmix(real_tile[:300, :300], DEFAULT.stain).haematoxylin, 9, constant_values=255)
    tree = grow(density_image(framed, DEFAULT.smoothing_px) / np.float32(NUCLEAR_DENSITY), DEFAULT)
    pixels = [set(tree.objects.rle[tree.objects.owners == i].places()) for i in range(len(tree.parents))]
    assert (tree.levels == PIECE).sum() > 10
    for i, parent in enumerate(tree.parents):
        assert (parent < 0) == (tree.levels[i] == 1)
        if parent >= 0:
            assert parent < i
            assert tree.levels[i] in (PIECE, tree.levels[parent] + 1)
            assert pixels[i] <= pixels[parent]
    for parent in set(tree.parents[tree.levels == PIECE]):
        parts = [pixels[i] for i in np.flatnonzero((tree.levels == PIECE) & (tree.parents == parent))]
        assert sum(map(len, parts)) == len(set().union(*parts))


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
    labels = segment_by_levels((spread * 255).astype(np.uint8), nuclear_density, DEFAULT).label_image
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
    np.testing.assert_array_equal(padded.label_image[top : height - bottom, left : width - right], plain.label_image)


def test_half_the_resolution_leaves_the_count(real_tile, n_whole):
    coarse = cv2.resize(real_tile, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    assert abs(count(rescale(coarse, 2.0, max_pixels=2_000_000)) - n_whole) <= 0.05 * n_whole


def test_two_runs_are_identical(real_tile):
    first, second = (segment(unmix(real_tile, DEFAULT.stain), DEFAULT) for _ in range(2))
    np.testing.assert_array_equal(first.label_image, second.label_image)


@pytest.mark.parametrize("shade", [0, 5])
def test_black_frame_neither_is_a_nucleus_nor_moves_the_others(real_tile, n_whole, shade):
    framed = np.pad(real_tile, ((12, 12), (12, 12), (0, 0)), constant_values=shade)
    assert abs(count(framed) - n_whole) <= 0.02 * n_whole
