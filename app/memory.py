"""How the C library keeps memory between one tile and the next."""

from __future__ import annotations

import ctypes
import sys

# glibc's <malloc.h>
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LARGEST_KEPT = 32 * 1024**2
"""Bytes of the largest buffer that is kept; glibc takes no more."""
KEPT = 128 * 1024**2
"""Bytes of free memory that are kept: what a tile of 1200×1200 needs."""


def keep_buffers() -> None:
    """Let the buffers of one tile serve the next, and those of one thread another.

    By default glibc gives them back to the system after each step, which then clears every page anew: a tenth of the
    time of a tile. To be called before there are threads. Does nothing where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option, value in ((M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, LARGEST_KEPT), (M_TRIM_THRESHOLD, KEPT)):
            mallopt(option, value)
