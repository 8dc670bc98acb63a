"""A cache for fixed descriptors, which every seed and every K ask for the features of the same cells."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import wraps

import numpy as np

from app.pipeline.types import Float32Array, UInt8Array

Describe = Callable[[UInt8Array], Float32Array]


def cached_descriptor(describe: Describe) -> Describe:
    """Keep in memory what a descriptor that learns nothing returned for each crop.

    Args:
        describe: (N, 32, 32, C) uint8 → (N, D) float32; what it returns for a crop depends on that crop alone.

    Returns:
        A function that returns the same values, and computes only those that it has not returned before.
    """
    kept: dict[bytes, Float32Array] = {}

    @wraps(describe)
    def cached(crops: UInt8Array) -> Float32Array:
        keys = [hashlib.sha256(crop.tobytes()).digest() for crop in crops]
        missing = {key: i for i, key in enumerate(keys) if key not in kept}
        if not keys:
            return describe(crops)
        if missing:
            kept.update(zip(missing, describe(crops[list(missing.values())]), strict=True))
        return np.stack([kept[key] for key in keys])

    return cached
