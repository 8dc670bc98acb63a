import numpy as np
import pytest

from app.pipeline.stain import macenko as stain
from app.pipeline.stain.macenko import haematoxylin_first, haematoxylin_image
from tests.drawing import EOSIN, HAEMATOXYLIN, mix


def macenko(tile):
    return stain.macenko(tile.reshape(-1, 3), **PAPER_MACENKO)


PAPER_MACENKO = {"min_magnitude": 16, "angle_percentiles": (1, 99)}
OTHER_PAIR = (np.array([0.75, 0.60, 0.28]), np.array([0.25, 0.93, 0.27]))


def unit_pair(vectors):
    return tuple(vector / np.linalg.norm(vector) for vector in vectors)


def mixtures(vectors, haematoxylin_share):
    """Pixels from pure haematoxylin to pure eosin, with enough of both ends to fill the outer percentiles."""
    rng = np.random.default_rng(3)
    share = np.concatenate(
        [np.zeros(1500), np.ones(1500), rng.beta(4 * haematoxylin_share, 4 - 4 * haematoxylin_share, 17_000)]
    )
    amount = rng.uniform(60, 140, share.size)
    return mix(amount * share, amount * (1 - share), vectors).reshape(100, 200, 3)


@pytest.mark.parametrize("haematoxylin_share", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("vectors", [(HAEMATOXYLIN, EOSIN), unit_pair(OTHER_PAIR)], ids=["Ruifrok", "bluer"])
def test_macenko_recovers_the_stains_that_were_mixed(vectors, haematoxylin_share):
    found = macenko(mixtures(vectors, haematoxylin_share))
    np.testing.assert_allclose(found, np.column_stack(vectors), atol=1e-2)


def test_macenko_ignores_background():
    stained = mixtures((HAEMATOXYLIN, EOSIN), 0.5)
    # Faint grey: it lies outside both stains and would widen the angles if it counted.
    faint = np.random.default_rng(0).integers(243, 256, (300, 200, 1), dtype=np.uint8).repeat(3, axis=2)
    found = macenko(np.concatenate([stained, faint]))
    np.testing.assert_allclose(found, np.column_stack([HAEMATOXYLIN, EOSIN]), atol=1e-2)


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(np.full((20, 20, 3), 255, np.uint8), id="white"),
        pytest.param(np.zeros((20, 20, 3), np.uint8), id="black"),
        pytest.param(np.full((20, 20, 3), 128, np.uint8), id="grey"),
        pytest.param(np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2), id="grey ramp"),
        pytest.param(mix(np.zeros((20, 20)), np.full((20, 20), 80.0)), id="eosin only"),
        pytest.param(mix(np.full((20, 20), 80.0), np.zeros((20, 20))), id="haematoxylin only"),
        pytest.param(mixtures((HAEMATOXYLIN, EOSIN), 0.5)[:1, :99], id="99 stained pixels"),
        pytest.param(mixtures((HAEMATOXYLIN, EOSIN), 0.5)[:1, :1], id="one pixel"),
    ],
)
def test_macenko_finds_no_stains_where_there_are_not_two(pixels):
    assert macenko(pixels) is None


@pytest.mark.parametrize("vectors", [(HAEMATOXYLIN, EOSIN), unit_pair(OTHER_PAIR)], ids=["Ruifrok", "bluer"])
@pytest.mark.parametrize("swapped", [False, True])
def test_haematoxylin_comes_first_whatever_the_order(vectors, swapped):
    given = np.column_stack(vectors[::-1] if swapped else vectors)
    np.testing.assert_array_equal(haematoxylin_first(given), np.column_stack(vectors))


def test_eosin_leaves_no_trace_in_the_haematoxylin_image():
    eosin_only = mix(np.zeros((1, 80)), np.linspace(0, 80, 80)[None])
    assert haematoxylin_image(eosin_only, np.column_stack([HAEMATOXYLIN, EOSIN])).min() >= 250


def test_haematoxylin_image_shows_the_amount_of_haematoxylin():
    amount = np.array([[0.0, 20.0, 60.0, 100.0]])
    expected = 256 ** (1 - amount / 255) - 1
    for eosin in (0.0, 30.0):
        found = haematoxylin_image(mix(amount, np.full_like(amount, eosin)), np.column_stack([HAEMATOXYLIN, EOSIN]))
        np.testing.assert_allclose(found, expected, atol=5)


@pytest.mark.parametrize("n", [100, 20_000, stain.SPREAD_PIXELS])
def test_stains_are_those_of_the_definition(n):
    pixels = np.resize(mixtures((HAEMATOXYLIN, EOSIN), 0.4).reshape(-1, 3)[::-1], (n, 3))
    density = 255 * (1 - np.log(pixels + 1.0) / np.log(256))
    _, _, axes = np.linalg.svd(density, full_matrices=False)
    axes[0] *= np.sign(axes[0].sum())
    x, y = axes[:2] @ density.T
    angles = np.arctan2(y, x)[np.hypot(x, y) > 16]
    low, high = np.percentile(angles, (1, 99), method="nearest")
    ends = [np.cos(angle) * axes[0] + np.sin(angle) * axes[1] for angle in (low, high)]
    np.testing.assert_allclose(macenko(pixels), haematoxylin_first(np.column_stack(ends)), atol=1e-6)
    assert stain.stain_spread_deg(pixels, **PAPER_MACENKO) == pytest.approx(np.rad2deg(high - low), abs=1e-4)
