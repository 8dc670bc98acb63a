import numpy as np
import pytest
from PIL import Image

from bench import scaling


@pytest.fixture
def asked(monkeypatch):
    """What each child process would have been given: side of its tile, and runs."""
    calls = []

    def pretend(module, system, path, runs):
        with Image.open(path) as image:
            calls.append((image.size, int(runs)))
        return {"cells": 3, "median_s": 0.5, "stages_ms": {}, "idle_rss_mb": 1.0, "peak_rss_mb": 2.0, "seconds": [0.5]}

    monkeypatch.setattr(scaling, "run_child", pretend)
    return calls


def test_every_size_is_measured_and_large_ones_less_often(asked, tmp_path):
    tile = tmp_path / "tile.png"
    Image.fromarray(np.zeros((300, 300, 3), np.uint8)).save(tile)
    rows = scaling.by_size(tile, 5)
    assert [size for size, _ in asked] == [(side, side) for side in (256, 512, 1024, 2048, 4096)]
    assert [runs for _, runs in asked] == [5, 5, 5, 2, 2]
    assert [row["pixels"] for row in rows] == [256**2, 512**2, 1024**2, 2048**2, 4096**2]
    assert {row["cells"] for row in rows} == {3}


def test_drawn_tiles_differ_in_their_nuclei_alone(asked):
    rows = scaling.by_cells(4)
    assert set(asked) == {((1200, 1200), 4)}
    assert [row["drawn"] for row in rows] == [0, 125, 250, 500, 1000, 2000]
