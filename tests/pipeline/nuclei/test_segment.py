import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.pipeline.nuclei.outlines import contours
from app.pipeline.nuclei.segment import segment
from app.pipeline.presets import PAPER
from app.pipeline.stain.unmix import unmix
from app.pipeline.types import LabStatistics, Later, Stain, StainEstimate
from tests.drawing import disc, discs, draw_tile, grid_of_centres


def nuclei_of(stained, **changes):
    """Segment a tile whose haematoxylin is exactly where `stained` is true."""
    haematoxylin = np.where(stained, 60, 240).astype(np.uint8)
    return segment(stains_of(haematoxylin), PAPER.model_copy(update=changes))


def stains_of(haematoxylin, nuclear_density=45):
    """An unmixed tile of which only the haematoxylin matters."""
    shape = haematoxylin.shape
    estimate = StainEstimate(LabStatistics(np.zeros(3), np.ones(3)), np.eye(3)[:, :2], nuclear_density)
    separated = Later(lambda: (haematoxylin, estimate))
    return Stain(np.zeros((*shape, 3), np.uint8), np.ones(shape, bool), estimate.stain_matrix, separated)


def box(shape, x0, y0, x1, y1):
    stained = np.zeros(shape, bool)
    stained[y0:y1, x0:x1] = True
    return stained


def test_threshold_is_below_120():
    haematoxylin = np.full((40, 80), 255, np.uint8)
    haematoxylin[10:30, 10:30] = 119
    haematoxylin[10:30, 50:70] = 120
    nuclei = segment(stains_of(haematoxylin), PAPER)
    assert len(nuclei) == 1
    assert nuclei.centroids[0, 0] < 30


def test_object_of_200_px_stays_and_one_of_199_goes():
    stained = box((60, 80), 5, 5, 25, 15) | box((60, 80), 40, 30, 60, 40)
    assert len(nuclei_of(stained)) == 2
    stained[30, 40] = False
    assert len(nuclei_of(stained)) == 1


def test_hole_is_filled():
    ring = disc((60, 60), (30, 30), 15) & ~disc((60, 60), (30, 30), 6)
    nuclei = nuclei_of(ring)
    assert len(nuclei) == 1
    assert nuclei.label_image[30, 30] == 1


def test_opening_parts_two_discs_on_a_bridge_that_compaction_leaves():
    shape = (60, 100)
    # 6 px wide: deep enough to pass compaction, too thin for a 7 × 7 square.
    joined = discs(shape, [(28, 30), (70, 30)], 14) | box(shape, 28, 27, 70, 33)
    assert len(nuclei_of(joined, opening_px=1)) == 1
    nuclei = nuclei_of(joined)
    assert len(nuclei) == 2
    np.testing.assert_allclose(nuclei.centroids, [[28, 30], [70, 30]], atol=1.5)


def test_opening_leaves_a_bridge_of_its_own_width():
    shape = (60, 100)
    assert len(nuclei_of(discs(shape, [(28, 30), (70, 30)], 14) | box(shape, 28, 26, 70, 34))) == 1


def test_nuclei_that_touch_at_a_corner_are_one():
    stained = box((60, 60), 5, 5, 25, 25) | box((60, 60), 25, 25, 45, 45)
    assert len(nuclei_of(stained, compaction=1, opening_px=1)) == 1


BORDER = {
    "left": (0, 50), "right": (99, 50), "top": (50, 0), "bottom": (50, 99),
    "top left": (0, 0), "top right": (99, 0), "bottom left": (0, 99), "bottom right": (99, 99),
}  # fmt: skip


@pytest.mark.parametrize("centre", BORDER.values(), ids=BORDER.keys())
def test_nucleus_cut_by_the_border_is_kept_up_to_the_border(centre):
    stained = disc((100, 100), centre, 20)
    nuclei = nuclei_of(stained)
    assert len(nuclei) == 1
    assert nuclei.label_image[centre[1], centre[0]] == 1
    assert nuclei.areas_px[0] >= 0.95 * stained.sum()
    # The outermost row or column is as long as in the drawing, but for the rounding of corners.
    for edge in (np.s_[0, :], np.s_[-1, :], np.s_[:, 0], np.s_[:, -1]):
        assert (nuclei.label_image[edge] > 0).sum() >= stained[edge].sum() - 6


@pytest.mark.parametrize("turns", range(4))
def test_sliver_of_a_nucleus_at_the_border_is_not_eaten_by_the_opening(turns):
    # 5 px of it are in the tile: a 7 × 7 square fits only if what lies beyond the border may be nucleus too.
    sliver = np.rot90(box((80, 100), 20, 0, 70, 5), turns)
    nuclei = nuclei_of(sliver)
    assert len(nuclei) == 1
    assert nuclei.areas_px[0] >= 0.9 * sliver.sum()


def test_tile_that_is_all_nucleus_is_one_nucleus():
    nuclei = nuclei_of(np.ones((30, 40), bool))
    assert nuclei.areas_px.tolist() == [1200]
    assert nuclei.bboxes.tolist() == [[0, 0, 40, 30]]
    assert nuclei.centroids.tolist() == [[19.5, 14.5]]


def test_tile_without_nuclei_has_empty_arrays_of_the_right_shape():
    nuclei = nuclei_of(np.zeros((30, 40), bool))
    assert len(nuclei) == 0
    assert nuclei.centroids.shape == (0, 2)
    assert nuclei.bboxes.shape == (0, 4)
    assert nuclei.label_image.shape == (30, 40)
    assert contours(nuclei) == []


def test_nuclei_come_in_reading_order():
    nuclei = nuclei_of(discs((100, 150), [(120, 20), (30, 50), (80, 80)], 12))
    assert nuclei.centroids.round().tolist() == [[120, 20], [30, 50], [80, 80]]


def test_drawn_nuclei_are_found_where_they_were_drawn():
    centres = grid_of_centres()
    nuclei = segment(unmix(draw_tile(centres), PAPER.stain), PAPER)
    distances = np.linalg.norm(nuclei.centroids[:, None] - centres[None], axis=2)
    assert len(nuclei) == len(centres)
    assert distances.min(axis=1).max() < 1.5
    assert sorted(distances.argmin(axis=1)) == list(range(len(centres)))


@pytest.mark.parametrize("shade", [0, 90])
def test_frame_round_a_tile_does_not_swallow_its_nuclei(shade):
    centres = grid_of_centres()
    tile = draw_tile(centres)
    tile[:6], tile[-6:], tile[:, :6], tile[:, -6:] = shade, shade, shade, shade
    nuclei = segment(unmix(tile, PAPER.stain), PAPER)
    assert abs(len(nuclei) - len(centres)) <= 1


def check_nuclei(nuclei, shape):
    n = len(nuclei)
    assert nuclei.label_image.shape == shape
    assert nuclei.label_image.dtype == np.int32
    assert np.unique(nuclei.label_image[nuclei.label_image > 0]).tolist() == list(range(1, n + 1))
    assert nuclei.centroids.shape == (n, 2)
    assert np.isfinite(nuclei.centroids).all()
    assert np.bincount(nuclei.label_image.ravel(), minlength=n + 1)[1:].tolist() == nuclei.areas_px.tolist()
    assert (nuclei.bboxes[:, :2] >= 0).all()
    assert (nuclei.bboxes[:, 2:] <= shape[::-1]).all()
    assert (nuclei.bboxes[:, :2] < nuclei.bboxes[:, 2:]).all()
    assert all(len(outline) >= 1 for outline in contours(nuclei))


@settings(max_examples=80, derandomize=True, deadline=None)
@given(
    height=st.integers(1, 64),
    width=st.integers(1, 64),
    low=st.integers(0, 255),
    high=st.integers(0, 255),
    block=st.integers(1, 16),
    grey=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
    smallest=st.sampled_from([1, 20, 200]),
)
def test_any_tile_of_any_size_is_segmented_without_error(height, width, low, high, block, grey, seed, smallest):
    low, high = sorted((low, high))
    coarse = np.random.default_rng(seed).integers(
        low, high + 1, (-(-height // block), -(-width // block), 1 if grey else 3), dtype=np.uint8
    )
    pixels = np.broadcast_to(coarse.repeat(block, 0).repeat(block, 1)[:height, :width], (height, width, 3))
    stains = unmix(pixels, PAPER.stain)
    assert stains.normalised.shape == pixels.shape
    assert stains.normalised.dtype == np.uint8
    assert stains.haematoxylin.shape == (height, width)
    assert stains.stain_matrix is None or np.isfinite(stains.stain_matrix).all()
    params = PAPER.model_copy(update={"min_area_px": smallest, "min_fragment_px": smallest})
    check_nuclei(segment(stains, params), (height, width))


def check_rotation(tile, turns):
    upright = segment(unmix(tile, PAPER.stain), PAPER)
    rotated = segment(unmix(np.ascontiguousarray(np.rot90(tile, turns)), PAPER.stain), PAPER)
    # Every step is symmetrical. Only the order of floating-point sums differs, which can move a pixel across a grey
    # level and so across the threshold; one nucleus at the limit of its area may come or go.
    assert (np.rot90(upright.label_image > 0, turns) == (rotated.label_image > 0)).mean() > 0.999
    assert abs(len(upright) - len(rotated)) <= 1


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_rotated_drawing_has_the_rotated_nuclei(turns):
    check_rotation(draw_tile(grid_of_centres()), turns)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_rotated_tile_has_the_rotated_nuclei(real_tile, turns):
    check_rotation(real_tile[300:700, 200:800], turns)


def test_mirrored_shape_has_the_mirrored_nuclei():
    stained = discs((90, 120), [(20, 20), (45, 30), (100, 60), (0, 70)], 14) | box((90, 120), 40, 50, 90, 54)
    np.testing.assert_array_equal(
        nuclei_of(stained).label_image[:, ::-1] > 0, nuclei_of(stained[:, ::-1]).label_image > 0
    )
