"""HistomicsTK's recipe for nuclei, as the paper's authors published it and with HistomicsTK's own seeds.

The calls and numbers are those of github.com/bohu615/nu_gan, `cell_segment`. The stains are estimated on the normalised
tile and then used to deconvolve the original tile. The authors' loop leaves out the last object of each tile; this
mistake is not repeated here.
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
"""Sigmas of the constrained LoG: the authors multiply their radii by √2, although HistomicsTK says to divide."""
HISTOMICSTK_SIGMAS_PX = (10 / np.sqrt(2), 15 / np.sqrt(2))
"""Sigmas of HistomicsTK's own example of nuclei segmentation."""
SMALLEST_SPAN_PX2 = 100
LARGE_SPAN_PX2 = 450
LARGEST_SPAN_PX2 = 800
"""Spans of a bounding box, (height − 1) · (width − 1): objects below the first are dropped, objects from the second on
are opened, and parts from the third on that the opening leaves are dropped."""
FOUR_CONNECTED = 1


@dataclass(frozen=True)
class RecipeStains:
    """The stains of a tile, as the recipe computes them.

    Attributes:
        normalised: (H, W, 3) uint8, the Reinhard-normalised tile.
        haematoxylin: (H, W) uint8, intensity of haematoxylin in the original tile; dark is stained.
    """

    normalised: UInt8Array
    haematoxylin: UInt8Array


def unmix_by_recipe(pixels: UInt8Array) -> RecipeStains:
    """Normalise a tile, and separate the haematoxylin of the original tile.

    Args:
        pixels: (H, W, 3) uint8 RGB with two stains.
    """
    normalised = np.asarray(reinhard(pixels, PAPER.stain.target_mean, PAPER.stain.target_sd), dtype=np.uint8)
    stains = separate_stains_macenko_pca(rgb_to_sda(normalised, None), PAPER.stain.min_magnitude)
    matrix = haematoxylin_first(np.asarray(stains, dtype=np.float64)[:, :2])
    return RecipeStains(normalised, np.asarray(color_deconvolution(pixels, matrix).Stains[..., 0], np.uint8))


def segment_by_authors(stains: RecipeStains) -> Nuclei:
    """Segment as the authors' code does: touching clusters of seeds are joined, and large objects are opened by 7×7."""
    return measure(_opened_where_large(_clustered(stains.haematoxylin, AUTHORS_SIGMAS_PX) > 0))


def segment_by_seeds(stains: RecipeStains) -> Nuclei:
    """Segment alike up to the compaction, with HistomicsTK's own radii; each cluster of seeds is a nucleus."""
    labels = _clustered(stains.haematoxylin, HISTOMICSTK_SIGMAS_PX)
    _, without_gaps = np.unique(labels, return_inverse=True)
    return measure(without_gaps.reshape(labels.shape).astype(np.int32))


def _clustered(haematoxylin: UInt8Array, sigmas_px: tuple[float, float]) -> Int32Array:
    """Return the label image after threshold, holes, constrained LoG, max-clustering, area ≥ 200 and compaction 3."""
    intensity = haematoxylin.astype(float)
    foreground = ndimage.binary_fill_holes(intensity < THRESHOLD)
    response, _ = clog(intensity, foreground, *sigmas_px)
    with warnings.catch_warnings():
        # HistomicsTK uses the old name of a property of scikit-image.
        warnings.simplefilter("ignore", FutureWarning)
        labels, _, _ = max_clustering(response, foreground, MAX_CLUSTERING_RADIUS_PX)
    return np.asarray(compact(area_open(labels, PAPER.min_area_px).astype(np.int32), PAPER.compaction))


def _opened_where_large(covered: BoolArray) -> Int32Array:
    """Apply the authors' rules of size: (H, W) label image of the small objects and of the parts of the large ones."""
    objects = label(covered, connectivity=FOUR_CONNECTED)
    large = _within(objects, LARGE_SPAN_PX2 - 1, np.inf).astype(np.uint8)
    kernel = np.ones((PAPER.opening_px, PAPER.opening_px), np.uint8)
    parts = label(cv2.morphologyEx(large, cv2.MORPH_OPEN, kernel), connectivity=FOUR_CONNECTED)
    kept = _within(objects, SMALLEST_SPAN_PX2, LARGE_SPAN_PX2) | _within(parts, -1, LARGEST_SPAN_PX2)
    return np.asarray(label(kept, connectivity=FOUR_CONNECTED), dtype=np.int32)


def _within(objects: np.ndarray, above: float, below: float) -> BoolArray:
    """Return the pixels of objects whose bounding box has a span between two limits, (H, W) bool."""
    boxes = measure(np.asarray(objects, dtype=np.int32)).bboxes
    spans = (boxes[:, 2:] - boxes[:, :2] - 1).prod(axis=1)
    return np.asarray(np.append(False, (spans > above) & (spans < below))[objects])
