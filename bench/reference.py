"""The reference recipe: the authors' code with HistomicsTK; each crop goes through Q by itself, in eager PyTorch."""

from __future__ import annotations

import numpy as np
import torch

from app.pipeline.crops import crop_nuclei, to_network
from app.pipeline.torch_nets import ClusterNet
from training.baselines.histomicstk_recipe import segment_by_authors, unmix_by_recipe


def analyse_reference(pixels: np.ndarray, q: ClusterNet) -> int:
    """Segment a tile and cluster its cells.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        q: Q, in evaluation mode.

    Returns:
        Number of cells.
    """
    stains = unmix_by_recipe(pixels)
    nuclei = segment_by_authors(stains)
    with torch.inference_mode():
        for crop in crop_nuclei(stains.normalised, nuclei):
            q(torch.from_numpy(to_network(crop[None])))
    return len(nuclei)
