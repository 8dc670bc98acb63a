"""Memory: how the C library keeps it between tiles, and one error for every way in which it runs out."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Numbers of the options in glibc's <malloc.h>.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LARGEST_KEPT = 32 * 1024**2
"""Bytes of the largest buffer that is kept; glibc takes no more."""
KEPT = 128 * 1024**2
"""Bytes of free memory that are kept: what a tile of 1200 × 1200 px needs."""

MESSAGES = ("can't start new thread", "allocate memory", "bad_alloc")
"""What Python writes of a thread without memory for its stack, and ONNX Runtime of a buffer."""


def keep_buffers() -> None:
    """Make glibc keep the buffers of one tile for the next, and share them between threads.

    By default glibc gives them back to the system after each step, and the system then clears every page anew, which
    takes a tenth of the time of a tile. Call this before the first thread is started. It does nothing where the C
    library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option, value in ((M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, LARGEST_KEPT), (M_TRIM_THRESHOLD, KEPT)):
            mallopt(option, value)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn the errors of OpenCV, ONNX Runtime and threads that lack memory into MemoryError.

    The service answers a MemoryError with 503, and every unknown error with 500.

    Raises:
        MemoryError: there is too little memory.
    """
    try:
        yield
    except Exception as error:
        import cv2  # only here: `keep_buffers` is to be called before a library starts threads

        is_opencvs = isinstance(error, cv2.error) and error.code == cv2.Error.STS_NO_MEM
        if is_opencvs or any(message in str(error) for message in MESSAGES):
            raise MemoryError(str(error)) from error
        raise
