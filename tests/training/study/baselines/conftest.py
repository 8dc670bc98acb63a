"""Drawn cells of kinds that any sensible system can separate."""

import numpy as np
import pytest

from app.pipeline.types import UInt8Array
from tests.drawing import disc

N_EACH = 40
KINDS = {"small and dark": (6, (60, 30, 110)), "large and pale": (14, (190, 150, 210)), "pink": (9, (200, 70, 120))}


@pytest.fixture(scope="session")
def kinds() -> np.ndarray:
    """(N,) int64: which kind each of `three_kinds` is of."""
    return np.repeat(np.arange(len(KINDS)), N_EACH)


@pytest.fixture(scope="session")
def three_kinds() -> UInt8Array:
    """Crops of grainy round nuclei of three sizes and colours, which their surroundings of mere noise do not show."""
    random = np.random.default_rng(0)
    crops = np.full((len(KINDS) * N_EACH, 32, 32, 3), 255, np.uint8)
    drawn = [kind for kind in KINDS.values() for _ in range(N_EACH)]
    for crop, (radius, colour) in zip(crops, drawn, strict=True):
        inside = disc((32, 32), (15.5, 15.5), radius + random.uniform(-0.5, 0.5))
        crop[inside] = np.clip(random.normal(colour, 10, (inside.sum(), 3)), 0, 254)
    return np.concatenate([crops, random.integers(0, 256, (len(crops), 32, 32, 4), np.uint8)], axis=3)
