"""A keys file with keys that a test knows."""

import hashlib
import json
from pathlib import Path


def write_keys(path: Path, **keys: str) -> Path:
    """Write the file as `marrowscope keys` does, a name and its key for each argument."""
    entries = [
        {"name": name, "sha256": hashlib.sha256(key.encode()).hexdigest(), "created": "2026-01-02T03:04:05Z"}
        for name, key in keys.items()
    ]
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path
