import numpy as np
import pytest
from PIL import Image

from bench import run, scaling


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


def test_floor_takes_the_tile_its_cells_and_what_the_machine_can_do(tmp_path):
    tile = tmp_path / "tile.png"
    Image.fromarray(np.zeros((100, 200, 3), np.uint8)).save(tile)
    rates = {"memory_bytes_per_s": 480_000.0, "gemm_multiply_adds_per_s": 1e12, "decode_s": 0.25}
    found = run._floor(tile, {"cells": 0, "median_s": 2.5}, rates)
    # 20,000 pixels of 24 bytes at 480 kB/s is a second; 1.25 s in all.
    assert found["pixels_s"] == 1
    assert found["total_s"] == 1.25
    assert found["ratio"] == 2
    assert found["multiply_adds_per_cell"] > 1_000_000


def test_busy_moment_does_not_raise_the_floor():
    quiet = {"memory_bytes_per_s": 10.0, "gemm_multiply_adds_per_s": 5.0, "decode_s": 1.0}
    busy = {"memory_bytes_per_s": 4.0, "gemm_multiply_adds_per_s": 6.0, "decode_s": 2.0}
    assert run.best([busy, quiet]) == {**quiet, "gemm_multiply_adds_per_s": 6.0}


def test_q_is_measured_on_the_cpu_too_where_it_runs_on_a_gpu(monkeypatch):
    def pretend(module, **environment):
        return {"rates": [{"device": "cpu" if environment.get("CUDA_VISIBLE_DEVICES") == "" else "cuda"}]}

    monkeypatch.setattr(run, "run_child", pretend)
    assert [rate["device"] for rate in run._q_rates()] == ["cuda", "cpu"]
