"""Named cells whose features are drawn, so that the right types are known."""

import numpy as np

from app.pipeline.cell_classifier import CellType
from app.pipeline.measure.table import MEASUREMENTS
from app.review.classifier import teach
from app.review.named_cells import NamedCells

NAMES = ("dark", "large", "pale", "small")


def drawn(n=200, n_types=2, *, distance=3.0, n_features=6, n_groups=8, seed=0, **changed):
    """N cells in `n_types` clouds, whose centres are `distance` standard deviations from a common middle."""
    rng = np.random.default_rng(seed)
    types = np.arange(n) % n_types
    centres = np.eye(n_types, n_features) * distance
    values = {
        "features": (centres[types] + rng.normal(size=(n, n_features))).astype(np.float32),
        "measured": rng.normal(size=(n, len(MEASUREMENTS))),
        "neighbour_features": rng.normal(size=(n, n_features)),
        "types": types,
        "type_names": NAMES[:n_types],
        "groups": np.arange(n) // n_types % n_groups,
        "group_kind": "tiles",
        "tiles": tuple(map(str, range(n_groups))),
    }
    return NamedCells(**values | changed)


def taught(named, **options):
    types = [CellType(name=name, color="#000000") for name in named.type_names]
    return teach(named, types=types, bundle_sha256="0" * 64, **options)
