"""ResNet-50 up to its third stage (He et al. 2016), for a weights file in torchvision's layout.

torchvision itself is not asked for: its builds are bound to one build of PyTorch, and only this network is needed.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.errors import DataError

STAGES = {"layer1": (64, 3, 1), "layer2": (128, 4, 2), "layer3": (256, 6, 2)}
"""Width, blocks and stride of the first block."""
EXPANSION = 4
NOT_USED = ("layer4.", "fc.")


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolution with a shortcut; the 3×3 one strides, as in torchvision."""

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
        """(B, inputs, h, w) → (B, 4·width, h/stride, w/stride)."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        return functional.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def resnet50_trunk() -> nn.Sequential:
    """Stem and three stages, untrained: (B, 3, s, s) → (B, 1024, s/16, s/16) for s a multiple of 16.

    1,024 is the number of ResNet-50 features that the paper gives (§IV-C); the fourth stage has 2,048.
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
    """`resnet50_trunk` with the weights of a file, such as torchvision's `resnet50-0676ba61.pth`.

    Raises:
        DataError: the file cannot be read, or is not of a ResNet-50.
    """
    trunk = resnet50_trunk()
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        trunk.load_state_dict({name: value for name, value in state.items() if not name.startswith(NOT_USED)})
    except (OSError, RuntimeError, UnpicklingError, AttributeError) as error:
        raise DataError(f"{weights} does not hold the weights of a ResNet-50: {error}") from error
    return trunk
