import sys

import numpy as np
import pytest

from app.pipeline.errors import EngineUnavailable
from app.pipeline.presets import PAPER, PRESETS
from app.pipeline.stain.unmix import masked_pixels, smoothed, unmix, with_smooth_chroma
from tests.drawing import draw_tile, grid_of_centres


@pytest.mark.parametrize("preset", PRESETS)
def test_tile_is_not_written_to(preset):
    tile = draw_tile(grid_of_centres())
    tile.flags.writeable = False
    assert unmix(tile, PRESETS[preset].stain).estimate is not None


def test_masked_pixels_come_row_by_row():
    tile = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    mask = tile[..., 0] > 100
    np.testing.assert_array_equal(masked_pixels(tile, mask), tile[mask])
    assert masked_pixels(tile, np.zeros((7, 9), bool)).shape == (0, 3)


def test_smoothing_takes_what_lies_beyond_the_border_for_glass():
    dark = np.zeros((20, 20, 3), np.uint8)
    found = smoothed(dark, 2.0)
    assert found[10, 10].tolist() == [0, 0, 0]
    assert found[0, 0].min() > 100
    assert smoothed(dark, 0) is dark


def test_smooth_chroma_leaves_luma():
    tile = draw_tile(grid_of_centres())
    found = with_smooth_chroma(tile, 2.0).astype(float)
    weights = [0.299, 0.587, 0.114]
    # Colours that leave the range of 8 bits are cut off: a few grey levels here and there.
    assert np.abs(found @ weights - tile @ weights).mean() < 1
    assert np.abs(np.diff(found[..., 0] - found[..., 2], axis=1)).mean() < 3
    assert with_smooth_chroma(tile, 0) is tile


def test_unknown_engine_is_named_when_it_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "histomicstk", None)
    monkeypatch.setitem(sys.modules, "histomicstk.preprocessing.color_conversion", None)
    monkeypatch.delitem(sys.modules, "app.pipeline.stain.histomicstk", raising=False)
    monkeypatch.delattr(sys.modules["app.pipeline.stain"], "histomicstk", raising=False)
    with pytest.raises(EngineUnavailable, match="histomicstk"):
        unmix(draw_tile(grid_of_centres()), PAPER.stain, "histomicstk")
