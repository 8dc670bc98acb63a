import platform
import sys

import numpy as np
import pytest

from app.pipeline.nuclei.segment import segment
from app.pipeline.nuclei.threshold import compact
from app.pipeline.presets import PAPER
from app.pipeline.stain import normalise
from app.pipeline.stain.macenko import haematoxylin_image, macenko
from app.pipeline.stain.normalise import lab_statistics, reinhard
from app.pipeline.stain.optical_density import optical_density
from app.pipeline.stain.unmix import unmix
from app.pipeline.types import LabStatistics
from tests.drawing import disc, discs, draw_tile, grid_of_centres

if sys.platform != "linux" or platform.machine() != "x86_64":
    pytest.skip("HistomicsTK is published for Linux on x86-64 only.", allow_module_level=True)

from histomicstk.preprocessing.color_conversion import lab_mean_std, rgb_to_lab, rgb_to_sda
from histomicstk.segmentation.label import compact as reference_compact

from app.pipeline.stain import histomicstk as histomicstk_engine

TARGET = LabStatistics(np.asarray(PAPER.stain.target_mean), np.asarray(PAPER.stain.target_sd))
MACENKO = {"min_magnitude": PAPER.stain.min_magnitude, "angle_percentiles": PAPER.stain.angle_percentiles}


@pytest.fixture(scope="module", params=["drawn", "real"])
def tile(request):
    """A tile that is always there, and a real one where the public data are."""
    return draw_tile(grid_of_centres()) if request.param == "drawn" else request.getfixturevalue("real_tile")


def statistics(tile):
    return lab_statistics(tile.reshape(-1, 3))


@pytest.fixture(scope="module")
def normalised(tile):
    return reinhard(tile, statistics(tile), TARGET)


def test_colour_target_is_that_of_the_papers_tile_with_its_minus_sign(real_tile):
    mean, sd = lab_mean_std(real_tile)
    np.testing.assert_allclose(mean, [8.988, -0.0805, 0.0229], atol=1e-3)
    np.testing.assert_allclose(sd, [0.644, 0.113, 0.0277], atol=1e-3)
    # The paper rounds to two places and prints the second mean without its sign.
    np.testing.assert_allclose(PAPER.stain.target_mean, mean, atol=0.01)
    np.testing.assert_allclose(PAPER.stain.target_sd, sd, atol=0.005)


def test_lab_statistics_agree(tile):
    lab = normalise.rgb_to_lab(tile)
    mean, sd = lab_mean_std(tile)
    np.testing.assert_allclose(lab.mean(axis=(0, 1)), mean, atol=1e-6)
    np.testing.assert_allclose(lab.std(axis=(0, 1)), sd, atol=1e-6)


def test_lab_agrees_in_every_colour_of_a_coarse_cube():
    levels = np.array([0, 1, 37, 128, 200, 255], np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(12, 18, 3)
    np.testing.assert_allclose(normalise.rgb_to_lab(cube), rgb_to_lab(cube), atol=1e-6)
    # Black is left out: it may become anything.
    coloured = cube[cube.max(axis=2) > 0][None]
    ours = reinhard(coloured, statistics(coloured), TARGET).astype(int)
    assert np.abs(ours - histomicstk_engine.reinhard(coloured, statistics(coloured), TARGET)).max() <= 1


def test_optical_density_agrees_but_for_the_wrap_at_white():
    values = np.arange(255, dtype=np.uint8).reshape(5, 17, 3)
    np.testing.assert_allclose(optical_density(values), rgb_to_sda(values.astype(float), None), atol=1e-9)


def test_reinhard_agrees_within_a_grey_level(tile, normalised):
    reference = histomicstk_engine.reinhard(tile, statistics(tile), TARGET)
    assert np.abs(normalised.astype(int) - reference).max() <= 1


def test_stain_vectors_agree(normalised):
    counted = normalised.reshape(-1, 3)
    ours = macenko(counted, **MACENKO)
    np.testing.assert_allclose(ours, histomicstk_engine.macenko(counted, **MACENKO), atol=1e-2)


def test_haematoxylin_image_agrees_given_the_same_vectors(normalised):
    matrix = macenko(normalised.reshape(-1, 3), **MACENKO)
    ours = haematoxylin_image(normalised, matrix).astype(int)
    assert np.abs(ours - histomicstk_engine.haematoxylin_image(normalised, matrix)).max() <= 1


@pytest.fixture(scope="module")
def both_engines(tile):
    return unmix(tile, PAPER.stain, "native"), unmix(tile, PAPER.stain, "histomicstk")


def test_haematoxylin_image_agrees_from_tile_to_end(both_engines):
    ours, reference = (stains.haematoxylin.astype(int) for stains in both_engines)
    assert (np.abs(ours - reference) <= 2).mean() >= 0.99


def test_both_engines_find_the_same_nuclei(both_engines):
    ours, reference = (segment(stains, PAPER) for stains in both_engines)
    assert len(ours) >= 20
    assert abs(len(ours) - len(reference)) <= 0.01 * len(ours)
    same = 0
    for i in range(1, len(ours) + 1):
        inside = ours.label_image == i
        partner = np.bincount(reference.label_image[inside]).argmax()
        if partner:
            other = reference.label_image == partner
            same += (inside & other).sum() > 0.9 * (inside | other).sum()
    assert same >= 0.98 * len(ours)


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(np.full((30, 30, 3), 255, np.uint8), id="white"),
        pytest.param(np.zeros((30, 30, 3), np.uint8), id="black"),
        pytest.param(np.full((1, 1, 3), 128, np.uint8), id="one pixel"),
        pytest.param(np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2), id="grey ramp"),
        pytest.param(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8), id="noise"),
    ],
)
def test_degenerate_tiles_do_not_break_the_reference_engine(pixels):
    stains = unmix(pixels, PAPER.stain, "histomicstk")
    assert stains.haematoxylin.shape == pixels.shape[:2]
    assert stains.stain_matrix is None or np.isfinite(stains.stain_matrix).all()


@pytest.mark.parametrize("compaction", [1, 2, 3, 5])
def test_compaction_agrees_away_from_the_border(compaction):
    shape = (90, 140)
    stained = discs(shape, [(30, 30), (52, 40), (100, 50)], 14) | disc(shape, (110, 55), 5)
    stained[30:32, 30:80] = True
    stained[60:64, 95:110] = True
    stained |= np.random.default_rng(0).random(shape) < 0.05
    stained[:8] = stained[-8:] = stained[:, :8] = stained[:, -8:] = False
    expected = reference_compact(stained.astype(np.int32), compaction) > 0
    np.testing.assert_array_equal(compact(stained, compaction), expected)
