"""Let the C library keep memory between one tile and the next."""

from __future__ import annotations

import ctypes
import sys

# glibc's <malloc.h>
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LARGEST_KEPT = 32 * 1024**2
"""The largest buffer that is kept, in bytes; glibc allows no more."""
KEPT = 128 * 1024**2
"""How much free memory is kept, in bytes: a tile of 1200×1200 pixels needs that much."""


def keep_buffers() -> None:
    """Let the buffers of one tile be used again for the next, also by another thread.

    By default glibc returns them to the system after each step, and the system clears every page before it is used
    again: that takes a tenth of the time of a tile. Call this before any thread is started. With another C library
    than glibc it does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option, value in ((M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, LARGEST_KEPT), (M_TRIM_THRESHOLD, KEPT)):
            mallopt(option, value)
