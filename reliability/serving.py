"""A server under test, and a normal client beside the hostile ones, which checks every answer that it gets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bench.child import BUNDLE
from bench.server import Server, serving

__all__ = ["SAMPLE", "Server", "serving", "stable"]

SAMPLE = BUNDLE / "sample.png"
"""The tile that the normal client posts."""

CHANGES = ("request_id", "timing_ms")
"""Members of an answer that differ from one request to the next."""


def stable(body: bytes) -> Mapping[str, Any]:
    """What must be the same in every answer to one tile.

    Args:
        body: of a 200 of POST /analyze, as JSON.

    Raises:
        ValueError: it is not JSON.
    """
    answer: dict[str, Any] = json.loads(body)
    return {name: value for name, value in answer.items() if name not in CHANGES}
