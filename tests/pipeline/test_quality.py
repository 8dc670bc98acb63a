import cv2
import numpy as np
import pytest

from app.pipeline.manifest import QualityReference
from app.pipeline.presets import PAPER
from app.pipeline.quality import assess, stain_angle
from app.pipeline.segment import unmix
from tests.drawing import EOSIN, HAEMATOXYLIN, draw_tile, grid_of_centres

REFERENCE = QualityReference(stain_matrix=(tuple(HAEMATOXYLIN), tuple(EOSIN)))


def quality_of(pixels):
    return assess(pixels, unmix(pixels, PAPER.stain), PAPER.stain, REFERENCE)


def test_blur_lowers_the_focus():
    sharp = draw_tile(grid_of_centres())
    slight, strong = (cv2.GaussianBlur(sharp, (0, 0), sigma) for sigma in (1, 3))
    assert quality_of(sharp).focus > 2 * quality_of(slight).focus > 4 * quality_of(strong).focus


def test_well_stained_tile_has_no_flags():
    quality = quality_of(draw_tile(grid_of_centres()))
    assert quality.flags == ()
    assert 0 <= quality.stain_distance < 45


def test_tissue_fraction_is_the_share_that_is_not_empty():
    tile = draw_tile(grid_of_centres())
    half = np.concatenate([tile, np.full_like(tile, 255)])
    assert quality_of(half).tissue_fraction == pytest.approx(quality_of(tile).tissue_fraction / 2, abs=1e-9)
    assert quality_of(tile).tissue_fraction > 0.9


@pytest.mark.parametrize(("grey", "tissue"), [(255, 0.0), (128, 1.0), (0, 1.0)])
@pytest.mark.parametrize("shape", [(30, 40), (1, 1), (1, 2000)])
def test_plain_tile_is_flagged_and_measured(grey, tissue, shape):
    quality = quality_of(np.full((*shape, 3), grey, np.uint8))
    assert [flag.code for flag in quality.flags] == ["no_stain"]
    assert quality.flags[0].message
    assert quality.stain_distance is None
    assert quality.focus == 0
    assert quality.tissue_fraction == tissue


def rotated(vector, degrees):
    """`vector` turned by so many degrees towards something at right angles to it."""
    aside = np.cross(vector, [0.0, 0.0, 1.0])
    angle = np.deg2rad(degrees)
    return np.cos(angle) * vector + np.sin(angle) * aside / np.linalg.norm(aside)


@pytest.mark.parametrize(("haematoxylin", "eosin", "expected"), [(0, 0, 0), (10, 0, 10), (5, 20, 20), (30, 20, 30)])
def test_stain_angle_is_the_larger_of_the_two(haematoxylin, eosin, expected):
    reference = np.column_stack([HAEMATOXYLIN, EOSIN])
    turned = np.column_stack([rotated(HAEMATOXYLIN, haematoxylin), rotated(EOSIN, eosin)])
    assert stain_angle(turned, reference) == pytest.approx(expected, abs=1e-5)


def test_length_of_the_reference_does_not_count():
    reference = np.column_stack([HAEMATOXYLIN, EOSIN])
    assert stain_angle(reference, 3 * reference) == pytest.approx(0, abs=1e-5)
