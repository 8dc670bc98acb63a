"""The least time that a tile could take on this machine, computed from what was measured of the machine."""

from __future__ import annotations

from dataclasses import dataclass

STAGES = ("stain", "segmentation", "quality", "crops")
"""Each must read the tile's pixels and write as many: 3 bytes of RGB each, however many passes ours makes."""
BYTES_PER_PIXEL = 3


@dataclass(frozen=True)
class Floor:
    """Seconds of what no implementation of these stages can leave out.

    Attributes:
        decode_s: decoding the file, by the same decoder.
        pixels_s: one read and one write of the pixels per stage, at the bandwidth of memory.
        q_s: Q's multiply-adds for the cells, at the rate of a large matrix product.
    """

    decode_s: float
    pixels_s: float
    q_s: float

    @property
    def total_s(self) -> float:
        """All of it, one after the other."""
        return self.decode_s + self.pixels_s + self.q_s


def pixel_bytes(n_pixels: int) -> int:
    """Bytes read and written by all stages."""
    return len(STAGES) * 2 * BYTES_PER_PIXEL * n_pixels


def floor(
    *,
    n_pixels: int,
    n_cells: int,
    multiply_adds_per_cell: int,
    decode_s: float,
    memory_bytes_per_s: float,
    gemm_multiply_adds_per_s: float,
) -> Floor:
    """Of one tile.

    Args:
        n_pixels: height × width.
        n_cells: that go through Q.
        multiply_adds_per_cell: of Q.
        decode_s: measured.
        memory_bytes_per_s: measured, reads and writes together.
        gemm_multiply_adds_per_s: measured, float32 on all cores.
    """
    return Floor(
        decode_s=decode_s,
        pixels_s=pixel_bytes(n_pixels) / memory_bytes_per_s,
        q_s=n_cells * multiply_adds_per_cell / gemm_multiply_adds_per_s,
    )
