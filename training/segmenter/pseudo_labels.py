"""Pseudo-labels: what the network learns, made from our own segmentation, or from what the network itself agrees on.

Each pixel is sure to lie in a nucleus, sure to lie in none, or uncertain; the loss ignores uncertain pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from app.pipeline.nuclei.network import divide
from app.pipeline.nuclei.segment import segment
from app.pipeline.presets import DEFAULT, LEARNED, LevelParams, NetworkParams
from app.pipeline.stain.optical_density import density_image
from app.pipeline.types import BoolArray, Float32Array, Int32Array, Stain, UInt8Array

CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
SQUARE = np.ones((3, 3), np.uint8)


def _with_bias(shift: float) -> LevelParams:
    """Return preset `default` with a looser score, or a stricter one where the shift is below 0."""
    score = DEFAULT.score.model_copy(update={"bias": DEFAULT.score.bias + shift})
    return DEFAULT.model_copy(update={"score": score})


SURE = _with_bias(-0.9)
"""What this setting finds is sure to be a nucleus."""
LOOSE = _with_bias(1.5)
"""What only this setting finds may be a nucleus."""
BLOB_PROBABILITY, BLOB_DEPTH = 0.12, 0.2
"""What the network sees at least so clearly may be a nucleus of the next round."""
SURE_PROBABILITY, DOUBTFUL_PROBABILITY = 0.3, 0.2
"""A nucleus of the next round has somewhere a probability of at least the first of these; beside the nuclei, pixels
above the second are uncertain."""
GROUND_SHARE = 0.1
"""At least this share of a tile is background: probabilities count from where this share of its pixels lies below."""
OUTLINE_SHARE = 0.5
"""Its outline lies where the probability is this share of its own highest."""
DENSITY_SIGMA_PX = 2.0
"""Sigma in px of the Gaussian under which a pixel is as dense as nuclei."""
MIN_SOLIDITY = 0.88
"""What fills a smaller share of its convex hull may be several nuclei, and its depth is not learned from."""


@dataclass(frozen=True, slots=True)
class PseudoLabels:
    """What is known about each pixel of a tile, at the network's scale.

    Attributes:
        nucleus: (h, w) uint8, the share of the pixel that lies in a nucleus, in units of 1/255.
        depth: (h, w) uint8, how deep in its nucleus the pixel lies, in units of 1/255: 0 at the edge and outside, 255
            at the nucleus's deepest pixel.
        uncertain: (h, w) uint8, the share of the pixel that is uncertain, in units of 1/255.
        undivided: (h, w) uint8, the share of the pixel that lies in something that may be several nuclei, so that its
            depth is uncertain, in units of 1/255.
    """

    nucleus: UInt8Array
    depth: UInt8Array
    uncertain: UInt8Array
    undivided: UInt8Array

    def stacked(self) -> UInt8Array:
        """Return the four as one picture, (h, w, 4) uint8."""
        return np.stack([self.nucleus, self.depth, self.uncertain, self.undivided], axis=2)


def labels_of_segmentation(stain: Stain, reduction: int) -> PseudoLabels:
    """Make the first pseudo-labels of a tile from our own segmentation at two settings.

    Args:
        stain: the unmixed tile.
        reduction: the network sees the tile with its width and height divided by this.
    """
    sure, loose = (segment(stain, params).label_image for params in (SURE, LOOSE))
    # What one outline has and the other has not is uncertain too.
    doubtful = loose > 0
    if stain.estimate is not None:
        # Whatever is as dense as nuclei may be one: where they lie close together, the segmentation sees few of them.
        density = density_image(stain.haematoxylin, DENSITY_SIGMA_PX)
        doubtful |= density > stain.estimate.nuclear_density
    return make_labels(sure, doubtful & (sure == 0), reduction)


def make_labels(
    sure: Int32Array, uncertain: BoolArray, reduction: int, min_solidity: float = MIN_SOLIDITY
) -> PseudoLabels:
    """Make pseudo-labels of a label image. A strip between touching nuclei is background, so that they stay apart.

    Args:
        sure: (H, W) int32 label image of the nuclei that are sure.
        uncertain: (H, W) bool, pixels that the loss ignores.
        reduction: the labels are made at the tile's scale, and their width and height then divided by this.
        min_solidity: what fills a smaller share of its convex hull may be several nuclei, 0–1.
    """
    undivided = np.concatenate([[False], solidities(sure) < min_solidity])[sure]
    nucleus = ((sure > 0) & ~_strip(sure)).astype(np.float32)
    return PseudoLabels(
        *(
            _reduced(np.rint(each * 255).astype(np.uint8), reduction)
            for each in (
                nucleus,
                relative_depth(sure),
                uncertain.astype(np.float32),
                undivided.astype(np.float32),
            )
        )
    )


def solidities(label_image: Int32Array) -> Float32Array:
    """Return which share of its convex hull each object fills.

    Args:
        label_image: (H, W) int32, 0 = background; the labels may have gaps.

    Returns:
        (N,) float32, 0–1, for the labels 1…N; 1 for a label that does not occur.
    """
    boxes = ndimage.find_objects(label_image)
    filled = np.ones(len(boxes), np.float32)
    for i, box in enumerate(boxes):
        if box is None:
            continue
        # Corners of the pixels, so that one pixel has an area.
        rows, columns = np.nonzero(label_image[box] == i + 1)
        corners = np.concatenate([np.stack([columns + x, rows + y], axis=1) for x in (0, 1) for y in (0, 1)])
        filled[i] = rows.size / cv2.contourArea(cv2.convexHull(corners.astype(np.int32)))
    return filled


def _strip(label_image: Int32Array) -> BoolArray:
    """Return the pixels of nuclei at most one pixel away from an edge at which two nuclei touch, (H, W) bool."""
    labels = label_image.astype(np.float32)
    # The lowest label round a pixel, where background does not count.
    lowest = cv2.erode(np.where(labels > 0, labels, np.float32(np.inf)).astype(np.float32), CROSS)
    meets = (labels > 0) & ((cv2.dilate(labels, CROSS) != labels) | (lowest != labels))
    return np.asarray(cv2.dilate(meets.astype(np.uint8), SQUARE) > 0)


def relative_depth(label_image: Int32Array) -> Float32Array:
    """Return the distance of each pixel from the edge of its nucleus, over the largest distance in that nucleus.

    Args:
        label_image: (H, W) int32, 0 = background.

    Returns:
        (H, W) float32, 0–1; 0 in the background.
    """
    depth = np.zeros(label_image.shape, np.float32)
    for label, box in enumerate(ndimage.find_objects(label_image), start=1):
        if box is None:
            continue
        mask = label_image[box] == label
        distance = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
        depth[box][mask] = (distance / distance.max())[mask]
    return depth


def _reduced(image: UInt8Array, reduction: int) -> UInt8Array:
    """Reduce a picture as `nuclei.network.reduce_tile` reduces the tile, with 0 instead of white."""
    height, width = image.shape
    filled = np.pad(image, ((0, -height % reduction), (0, -width % reduction)))
    size = (filled.shape[1] // reduction, filled.shape[0] // reduction)
    return np.asarray(cv2.resize(filled, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def labels_of_views(views: Float32Array, params: NetworkParams = LEARNED) -> PseudoLabels:
    """Make pseudo-labels of what the network finds in several views of a tile.

    A nucleus is taken as the network sees it, however unsure it is of it: where it is unsure of everything in a tile,
    an outline lies nevertheless where the probability falls to half its height. So the next round is surer.

    Args:
        views: (V, 2, h, w) float32, the maps of V views, turned back.
        params: thresholds of the maps.
    """
    maps = np.asarray(views.mean(axis=0), np.float32)
    # A network that has hardly learned anything yet must not teach that the whole tile is one nucleus.
    ground = np.quantile(maps[0], GROUND_SHARE)
    maps[0] = (maps[0] - ground) / max(1 - ground, 1e-6)
    # The labels are wanted at the network's own scale.
    seen = {"nucleus_threshold": BLOB_PROBABILITY, "peak_depth": BLOB_DEPTH}
    blobs = divide(maps, maps.shape[1:], at_network_scale(params).model_copy(update=seen))
    smooth = cv2.GaussianBlur(maps[0], (0, 0), 1)
    highest = np.zeros(int(blobs.max(initial=0)) + 1, np.float32)
    np.maximum.at(highest, blobs, smooth)
    level = np.where(highest >= SURE_PROBABILITY, OUTLINE_SHARE * highest, 1)
    sure = np.where(maps[0] > level[blobs], blobs, 0).astype(np.int32)
    return make_labels(sure, (maps[0] > DOUBTFUL_PROBABILITY) & (sure == 0), 1)


def at_network_scale(params: NetworkParams) -> NetworkParams:
    """Return the parameters with which the maps are divided without enlarging them."""
    factor = params.reduction
    return params.model_copy(
        update={
            "reduction": 1,
            "depth_smoothing_px": params.depth_smoothing_px / factor,
            "peak_distance_px": max(1, params.peak_distance_px // factor),
            "max_hole_px": params.max_hole_px // factor**2,
            "min_area_px": max(1, params.min_area_px // factor**2),
        }
    )
