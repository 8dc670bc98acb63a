"""What identifies a result: the same tile, bundle and parameters give the same hash."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel

UNHASHED: dict[str, Any] = {
    "request_id": True,
    "code_version": True,
    "bundle": {"backend", "device"},
    "timing_ms": True,
    "result_sha256": True,
}
"""Members that say who answered, where and how fast: two answers that differ in nothing else are the same result."""


def result_sha256(answer: BaseModel) -> str:
    """SHA-256 of an AnalysisOut's canonical JSON without the members of UNHASHED, hexadecimal.

    Canonical: members sorted by name, no spaces, numbers as Python writes them, UTF-8. From the JSON of an answer it is
    computed anew as docs/decisions/0015-provenance.md shows, with the same hash.
    """
    found = answer.model_dump(mode="python", exclude=UNHASHED)
    text = json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
