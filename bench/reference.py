"""The reference recipe: the authors' code with HistomicsTK; each crop goes through Q by itself, in eager PyTorch."""

from __future__ import annotations

import numpy as np

from app.pipeline.crops import crop_nuclei, to_network
from app.pipeline.networks.pytorch import TorchBackend
from training.study.baselines.histomicstk_recipe import segment_by_authors, unmix_by_recipe


def analyse_reference(pixels: np.ndarray, backend: TorchBackend) -> int:
    """Segment a tile and cluster its cells.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        backend: Q.

    Returns:
        Number of cells.
    """
    stains = unmix_by_recipe(pixels)
    nuclei = segment_by_authors(stains)
    for crop in crop_nuclei(stains.normalised, nuclei):
        backend.describe(to_network(crop[None]))
    return len(nuclei)
