"""Manual features of a cell: SIFT, LBP and an L*a*b* colour histogram (paper §IV-C, MF of Tables I and III).

The paper gives only the number of features, 188. One SIFT descriptor has 128 values (Lowe 2004), and the
rotation-invariant LBP of 8 neighbours has 36 patterns (Ojala et al. 2002); the other 24 are a histogram of 8 bins for
each of three colour channels.
"""

from __future__ import annotations

import cv2
import numpy as np
from skimage.feature import local_binary_pattern

from app.pipeline.crops import CROP_PX, WHITE, pictures
from app.pipeline.types import BoolArray, Float32Array, UInt8Array
from training.cells.unlabelled import UnlabelledCells
from training.study.baselines.descriptor_cache import cached_descriptor
from training.study.baselines.kmeans import KMeansOn

SIFT_SIZE_PX = CROP_PX / 6
"""Size of the keypoint whose window covers the crop: 4 bins across, each 3 scales wide; a scale is half a size."""
LBP_NEIGHBOURS = 8
LBP_RADIUS_PX = 1
LBP_PATTERNS = np.unique([min((p << k | p >> 8 - k) & 255 for k in range(8)) for p in range(256)])
"""The smallest number among the 8 rotations of each pattern, (36,)."""
LAB_BINS = 8
LAB_RANGES = ((0, 100), (-25, 55), (-55, 25))
"""Ranges of L*, a* and b*: the purples and pinks of H&E. Colours beyond count in the outer bins; grey is inside one."""
DIMENSIONS = 188


class ManualFeatures:
    """The 188 values of each cell; nothing is learned and nothing is random.

    Args:
        seed: not used; every describer takes one.
    """

    def __init__(self, seed: int) -> None:
        pass

    def fit(self, cells: UnlabelledCells) -> None:
        """Do nothing: the features are fixed."""

    def features(self, crops: UInt8Array) -> Float32Array:
        """Return SIFT of unit length, shares of patterns and shares of colours, read-only.

        Args:
            crops: (N, 32, 32, C) uint8, of which the nucleus alone counts.

        Returns:
            (N, 188) float32.
        """
        return _describe_all(pictures(crops))


class ManualFeaturesKMeans(KMeansOn):
    """MF + k-means of Table III.

    Args:
        n_clusters: K.
        seed: seed of k-means.
    """

    def __init__(self, n_clusters: int, seed: int) -> None:
        super().__init__(ManualFeatures(seed), n_clusters, seed)


@cached_descriptor
def _describe_all(crops: UInt8Array) -> Float32Array:
    sift = cv2.SIFT.create()
    features = np.empty((len(crops), DIMENSIONS), np.float32)
    for row, crop in zip(features, crops, strict=True):
        grey = np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), np.uint8)
        inside = np.asarray((crop != WHITE).any(axis=-1))
        row[:] = np.concatenate([_sift(sift, grey), _lbp(grey, inside), _colours(crop)])
    return features


def _sift(sift: cv2.SIFT, grey: UInt8Array) -> Float32Array:
    """Return the upright SIFT descriptor of the whole crop, (128,) float32 of length 1; zeros for a blank crop."""
    middle = (CROP_PX - 1) / 2
    # The default angle, -1, would be taken as an angle of one degree.
    _, descriptors = sift.compute(grey, [cv2.KeyPoint(middle, middle, SIFT_SIZE_PX, 0)])
    length = float(np.linalg.norm(descriptors[0]))
    return np.asarray(descriptors[0] / (length or 1.0), np.float32)


def _lbp(grey: UInt8Array, inside: BoolArray) -> Float32Array:
    """Return the shares of the rotation-invariant patterns among the pixels of the nucleus, (36,) float32."""
    patterns = local_binary_pattern(grey, LBP_NEIGHBOURS, LBP_RADIUS_PX, method="ror")[inside].astype(np.int64)
    counts = np.bincount(patterns, minlength=256)[LBP_PATTERNS]
    return np.asarray(counts / max(len(patterns), 1), np.float32)


def _colours(crop: UInt8Array) -> Float32Array:
    """Return the shares of all pixels of the crop in 8 bins each of L*, a* and b*, (24,) float32.

    The white canvas counts, so that the size of the nucleus is among the features.
    """
    lab = cv2.cvtColor(crop.astype(np.float32) / WHITE, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    histograms = [
        np.histogram(np.clip(channel, *limits), LAB_BINS, limits)[0]
        for channel, limits in zip(lab.T, LAB_RANGES, strict=True)
    ]
    return np.asarray(np.concatenate(histograms) / len(lab), np.float32)
