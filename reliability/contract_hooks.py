"""Hooks that schemathesis loads: tiles for well-formed uploads, and the operations that require a key.

The bytes that schemathesis generates for a file are never an image, so every upload of its own would be a 415.
"""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
import schemathesis
from hypothesis import strategies as st
from PIL import Image

from app.pipeline.headers.inputs import FORMATS

KEYED = "MARROWSCOPE_CONTRACT_KEYED"
"""This environment variable is set if the service under test has keys."""


def _tiles(image_format: str) -> st.SearchStrategy[bytes]:
    """Return tiles of one format; they are small because a large `mpp` makes them sixteen times as wide."""
    rng = np.random.default_rng(0)
    sizes = ((1, 1), (33, 20), (48, 64))
    return st.sampled_from([_encoded(rng.integers(90, 256, (*size, 3), np.uint8), image_format) for size in sizes])


def _encoded(pixels: np.ndarray, image_format: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, image_format)
    return buffer.getvalue()


for name in FORMATS:
    schemathesis.openapi.media_type(f"image/{name.lower()}", _tiles(name))
NUCLEI = (
    b'{"type":"FeatureCollection","features":[]}',
    b'{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[[0,0],[9,0],[9,9],[0,9],[0,0]]]},"properties":{}}',
)
"""Nuclei that fit a tile of any size."""
schemathesis.openapi.media_type("application/geo+json", st.sampled_from(NUCLEI))


@schemathesis.hook
def before_load_schema(context: object, raw_schema: dict[str, Any]) -> None:
    """Require a key for every operation that declares one, if the service under test has keys.

    Nuclei are sent as GeoJSON only: what is drawn for a media type does not know its field, and a tile is no label
    image. Corrections correct nothing: the shipped bundle knows no types of cells, which no schema can say. A
    reviewer is not named: no schema can say which characters can be printed, and a key is a name already.
    """
    post = raw_schema["paths"]["/analyze"]["post"]
    post["parameters"] = [one for one in post["parameters"] if one["name"] != "reviewer"]
    form = post["requestBody"]["content"]["multipart/form-data"]
    form["encoding"]["nuclei"]["contentType"] = "application/geo+json"
    *_, body = form["schema"]["$ref"].split("/")
    raw_schema["components"]["schemas"][body]["properties"]["corrections"]["enum"] = ["{}"]
    if KEYED in os.environ:
        for path in raw_schema["paths"].values():
            for operation in path.values():
                if "security" in operation:
                    operation["security"].remove({})
