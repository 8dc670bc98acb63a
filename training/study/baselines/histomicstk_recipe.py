"""HistomicsTK's nuclei recipe: as the paper's authors published it, and with HistomicsTK's own seeds.

Source of the calls and numbers: github.com/bohu615/nu_gan, `cell_segment`. The stains are estimated on the normalised
tile and deconvolve the tile itself. The authors' loop leaves out each tile's last object; that slip is not repeated.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import cv2
import numpy as np
from histomicstk.filters.shape import clog
from histomicstk.preprocessing.color_conversion import rgb_to_sda
from histomicstk.preprocessing.color_deconvolution import color_deconvolution, separate_stains_macenko_pca
from histomicstk.preprocessing.color_normalization import reinhard
from histomicstk.segmentation.label import area_open, compact
from histomicstk.segmentation.nuclear import max_clustering
from scipy import ndimage
from skimage.measure import label

from app.pipeline.nuclei.measure import measure
from app.pipeline.presets import PAPER
from app.pipeline.stain.macenko import haematoxylin_first
from app.pipeline.types import BoolArray, Int32Array, Nuclei, UInt8Array

THRESHOLD = 160
MAX_CLUSTERING_RADIUS_PX = 10
AUTHORS_SIGMAS_PX = (5 * np.sqrt(2), 30 * np.sqrt(2))
"""Of the constrained LoG: the authors multiply their radii by √2, where HistomicsTK asks to divide."""
HISTOMICSTK_SIGMAS_PX = (10 / np.sqrt(2), 15 / np.sqrt(2))
"""Those of HistomicsTK's own example of nuclei segmentation."""
SMALLEST_SPAN_PX2 = 100
LARGE_SPAN_PX2 = 450
LARGEST_SPAN_PX2 = 800
"""Spans of a bounding box, (height − 1)·(width − 1): below which objects are dropped, from which they are opened, and
from which a part that the opening leaves is dropped."""
FOUR_CONNECTED = 1


@dataclass(frozen=True)
class RecipeStains:
    """What the recipe knows of a tile's stains.

    Attributes:
        normalised: (H, W, 3) uint8, the Reinhard-normalised tile.
        haematoxylin: (H, W) uint8 intensity of the tile as it was, dark = stained.
    """

    normalised: UInt8Array
    haematoxylin: UInt8Array


def unmix_by_recipe(pixels: UInt8Array) -> RecipeStains:
    """Normalise a tile, and separate the haematoxylin of the tile as it was.

    Args:
        pixels: (H, W, 3) uint8 RGB with two stains.
    """
    normalised = np.asarray(reinhard(pixels, PAPER.stain.target_mean, PAPER.stain.target_sd), dtype=np.uint8)
    stains = separate_stains_macenko_pca(rgb_to_sda(normalised, None), PAPER.stain.min_magnitude)
    matrix = haematoxylin_first(np.asarray(stains, dtype=np.float64)[:, :2])
    return RecipeStains(normalised, np.asarray(color_deconvolution(pixels, matrix).Stains[..., 0], np.uint8))


def segment_by_authors(stains: RecipeStains) -> Nuclei:
    """The authors' code: what the clusters of seeds cover, touching ones joined, and the large objects opened 7×7."""
    return measure(_opened_where_large(_clustered(stains.haematoxylin, AUTHORS_SIGMAS_PX) > 0))


def segment_by_seeds(stains: RecipeStains) -> Nuclei:
    """The same up to the compaction, with HistomicsTK's own radii, and each cluster of seeds a nucleus."""
    labels = _clustered(stains.haematoxylin, HISTOMICSTK_SIGMAS_PX)
    _, without_gaps = np.unique(labels, return_inverse=True)
    return measure(without_gaps.reshape(labels.shape).astype(np.int32))


def _clustered(haematoxylin: UInt8Array, sigmas_px: tuple[float, float]) -> Int32Array:
    """Threshold, holes filled, constrained LoG, max-clustering, area ≥ 200 and compaction 3: (H, W) labels."""
    intensity = haematoxylin.astype(float)
    foreground = ndimage.binary_fill_holes(intensity < THRESHOLD)
    response, _ = clog(intensity, foreground, *sigmas_px)
    with warnings.catch_warnings():
        # HistomicsTK asks scikit-image for a property under its old name.
        warnings.simplefilter("ignore", FutureWarning)
        labels, _, _ = max_clustering(response, foreground, MAX_CLUSTERING_RADIUS_PX)
    return np.asarray(compact(area_open(labels, PAPER.min_area_px).astype(np.int32), PAPER.compaction))


def _opened_where_large(covered: BoolArray) -> Int32Array:
    """The authors' rules of size: (H, W) labels of the small objects and of the parts of the large ones."""
    objects = label(covered, connectivity=FOUR_CONNECTED)
    large = _within(objects, LARGE_SPAN_PX2 - 1, np.inf).astype(np.uint8)
    kernel = np.ones((PAPER.opening_px, PAPER.opening_px), np.uint8)
    parts = label(cv2.morphologyEx(large, cv2.MORPH_OPEN, kernel), connectivity=FOUR_CONNECTED)
    kept = _within(objects, SMALLEST_SPAN_PX2, LARGE_SPAN_PX2) | _within(parts, -1, LARGEST_SPAN_PX2)
    return np.asarray(label(kept, connectivity=FOUR_CONNECTED), dtype=np.int32)


def _within(objects: np.ndarray, above: float, below: float) -> BoolArray:
    """(H, W) bool, the objects whose bounding box has a span between the two."""
    boxes = measure(np.asarray(objects, dtype=np.int32)).bboxes
    spans = (boxes[:, 2:] - boxes[:, :2] - 1).prod(axis=1)
    return np.asarray(np.append(False, (spans > above) & (spans < below))[objects])
