"""The reference recipe: the calls of the paper's public code, HistomicsTK and eager PyTorch.

Stains are estimated on the normalised tile and deconvolve the tile itself; haematoxylin below 160, holes filled,
constrained LoG, max-clustering, area ≥ 200, compaction 3; each crop goes through Q by itself, in eager PyTorch.
"""

from __future__ import annotations

import numpy as np
import torch
from histomicstk.filters.shape import clog
from histomicstk.preprocessing.color_conversion import rgb_to_sda
from histomicstk.preprocessing.color_deconvolution import color_deconvolution, separate_stains_macenko_pca
from histomicstk.preprocessing.color_normalization import reinhard
from histomicstk.segmentation.label import area_open, compact
from histomicstk.segmentation.nuclear import max_clustering
from scipy import ndimage

from app.pipeline.crops import crop_nuclei, to_network
from app.pipeline.presets import PAPER
from app.pipeline.segment import measure
from app.pipeline.stain import haematoxylin_first
from app.pipeline.torch_nets import ClusterNet

THRESHOLD = 160
RADIUS_PX = (10, 15)
"""Of nuclei, for the constrained LoG: those of HistomicsTK's own nuclei example, the authors' are not documented."""
MAX_CLUSTERING_RADIUS_PX = 10


def analyse_reference(pixels: np.ndarray, q: ClusterNet) -> int:
    """Segment a tile and cluster its cells.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        q: Q, in evaluation mode.

    Returns:
        Number of cells.
    """
    normalised = np.asarray(reinhard(pixels, PAPER.stain.target_mean, PAPER.stain.target_sd), dtype=np.uint8)
    stains = separate_stains_macenko_pca(rgb_to_sda(normalised, None), PAPER.stain.min_magnitude)
    matrix = haematoxylin_first(np.asarray(stains)[:, :2])
    haematoxylin = color_deconvolution(pixels, matrix).Stains[..., 0].astype(float)
    foreground = ndimage.binary_fill_holes(haematoxylin < THRESHOLD)
    response, _ = clog(haematoxylin, foreground, *(radius / np.sqrt(2) for radius in RADIUS_PX))
    labels, _, _ = max_clustering(response, foreground, MAX_CLUSTERING_RADIUS_PX)
    labels = compact(area_open(labels, PAPER.min_area_px).astype(np.int32), PAPER.compaction)
    _, labels = np.unique(labels, return_inverse=True)
    nuclei = measure(labels.reshape(pixels.shape[:2]).astype(np.int32))
    with torch.inference_mode():
        for crop in crop_nuclei(normalised, nuclei):
            q(torch.from_numpy(to_network(crop[None])))
    return len(nuclei)
