import pytest

from bench.floor import floor, pixel_bytes


def test_each_stage_reads_and_writes_three_bytes_a_pixel():
    # 4 stages, a read and a write each, 3 bytes: 24 bytes a pixel.
    assert pixel_bytes(1000) == 24_000


def test_floor_of_a_tile_by_hand():
    found = floor(
        n_pixels=1_000_000,
        n_cells=500,
        multiply_adds_per_cell=2_000_000,
        decode_s=0.03,
        memory_bytes_per_s=12e9,
        gemm_multiply_adds_per_s=50e9,
    )
    assert found.decode_s == 0.03
    assert found.pixels_s == pytest.approx(0.002)  # 24 MB at 12 GB/s
    assert found.q_s == pytest.approx(0.02)  # 10^9 multiply-adds at 50 x 10^9 a second
    assert found.total_s == pytest.approx(0.052)
