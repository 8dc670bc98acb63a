"""What libraries call a lack of memory → MemoryError, which the service answers with 503."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cv2

SAID = ("can't start new thread", "allocate memory", "bad_alloc")
"""By Python of a thread's stack, and by ONNX Runtime of its buffers."""


@contextmanager
def memory_errors() -> Iterator[None]:
    """Raise MemoryError where OpenCV, ONNX Runtime or a thread's start lacks memory.

    Raises:
        MemoryError: there is too little.
    """
    try:
        yield
    except Exception as error:
        is_opencvs = isinstance(error, cv2.error) and error.code == cv2.Error.STS_NO_MEM
        if is_opencvs or any(words in str(error) for words in SAID):
            raise MemoryError(str(error)) from error
        raise
