"""What schemathesis loads before its run: real tiles for well-formed uploads, and whether keys are set.

Its own bytes for a file are never an image: every such request would be a 415.
"""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
import schemathesis
from hypothesis import strategies as st
from PIL import Image

from app.pipeline.inputs import FORMATS

KEYED = "MARROWSCOPE_CONTRACT_KEYED"
"""Environment variable: the service under test has keys."""


def _tiles(image_format: str) -> st.SearchStrategy[bytes]:
    """Some tiles of one format, small because a large `mpp` makes them sixteen times as wide."""
    rng = np.random.default_rng(0)
    sizes = ((1, 1), (33, 20), (48, 64))
    return st.sampled_from([_encoded(rng.integers(90, 256, (*size, 3), np.uint8), image_format) for size in sizes])


def _encoded(pixels: np.ndarray, image_format: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, image_format)
    return buffer.getvalue()


for name in FORMATS:
    schemathesis.openapi.media_type(f"image/{name.lower()}", _tiles(name))


@schemathesis.hook
def before_load_schema(context: object, raw_schema: dict[str, Any]) -> None:
    """Where keys are set, none of the operations that name a key may be had without one."""
    if KEYED in os.environ:
        for path in raw_schema["paths"].values():
            for operation in path.values():
                if "security" in operation:
                    operation["security"].remove({})
