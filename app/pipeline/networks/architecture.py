"""The networks in PyTorch: generator, and the trunk that the critic D and Q share (paper §III-A, Fig. 3); the encoder.

The training imports it, and so does the PyTorch fallback; nothing else in the pipeline needs torch.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

HEAD = 64
"""Width of the hidden layer of `CodeHead`."""
SEED_PX = 4
"""Edge of the generator's first feature map, px; three doublings give the 32-px crop."""


class UpBlock(nn.Module):
    """Residual block with batch norm that doubles the map by nearest-neighbour up-sampling."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) → (B, C, 2S, 2S)."""
        h = functional.interpolate(functional.relu(self.norm1(x)), scale_factor=2, mode="nearest")
        h = self.conv2(functional.relu(self.norm2(self.conv1(h))))
        # A 1×1 convolution and nearest up-sampling commute; in this order it costs a quarter.
        return h + functional.interpolate(self.shortcut(x), scale_factor=2, mode="nearest")


class Generator(nn.Module):
    """G(c, z), which makes a cell of a one-hot code and Gaussian noise.

    Args:
        channels: width of every layer (paper: 128).
        n_clusters: K, length of the code.
        latent_size: length of z.
        code_scale: factor on the one-hot code. At 1 the code is only K of K + Z inputs, and G learns to ignore it.
        outputs: I, channels of a crop.
    """

    def __init__(
        self, channels: int, n_clusters: int, latent_size: int, code_scale: float = 1.0, outputs: int = 3
    ) -> None:
        super().__init__()
        self.n_clusters = n_clusters
        self.latent_size = latent_size
        self.code_scale = code_scale
        self.linear = nn.Linear(n_clusters + latent_size, channels * SEED_PX**2)
        self.blocks = nn.Sequential(*(UpBlock(channels) for _ in range(3)))
        self.norm = nn.BatchNorm2d(channels)
        self.to_rgb = nn.Conv2d(channels, outputs, 3, padding=1)

    def forward(self, latent: Tensor) -> Tensor:
        """(B, K + Z) = [one-hot c, z] → (B, I, 32, 32) in [-1, 1]."""
        code, z = latent.split([self.n_clusters, self.latent_size], dim=1)
        h = self.linear(torch.cat([code * self.code_scale, z], dim=1))
        h = self.blocks(h.unflatten(1, (-1, SEED_PX, SEED_PX)))
        return torch.tanh(self.to_rgb(functional.relu(self.norm(h))))


class FirstDownBlock(nn.Module):
    """Residual block on the image itself: no activation before the first convolution, mean pooling."""

    def __init__(self, channels: int, inputs: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, S, S) → (B, C, S/2, S/2)."""
        h = self.conv2(functional.relu(self.conv1(x)))
        return functional.avg_pool2d(h, 2) + self.shortcut(functional.avg_pool2d(x, 2))


class ResBlock(nn.Module):
    """Pre-activation residual block without batch norm; `down` halves the map by mean pooling."""

    def __init__(self, channels: int, *, down: bool) -> None:
        super().__init__()
        self.down = down
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, channels, 1) if down else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) → (B, C, S, S), or (B, C, S/2, S/2) when `down`."""
        h = self.conv2(functional.relu(self.conv1(functional.relu(x))))
        if self.down:
            return functional.avg_pool2d(h, 2) + self.shortcut(functional.avg_pool2d(x, 2))
        return h + x


class Trunk(nn.Module):
    """The four residual blocks that D and Q share.

    Args:
        channels: C, width of every block.
        inputs: I, channels of a crop.
    """

    def __init__(self, channels: int, inputs: int = 3) -> None:
        super().__init__()
        self.widths = (channels,) * 4
        self.blocks = nn.ModuleList(
            [
                FirstDownBlock(channels, inputs),
                ResBlock(channels, down=True),
                ResBlock(channels, down=False),
                ResBlock(channels, down=False),
            ]
        )

    def maps(self, crops: Tensor) -> list[Tensor]:
        """(B, I, 32, 32) → the map after each block: (B, C, 16, 16), then three of (B, C, 8, 8)."""
        found, h = [], crops
        for block in self.blocks:
            h = block(h)
            found.append(h)
        return found

    def forward(self, crops: Tensor) -> Tensor:
        """(B, I, 32, 32) → (B, C), the ReLU'd and globally averaged last map."""
        return pooled(self.maps(crops))


def pooled(maps: list[Tensor]) -> Tensor:
    """Return the input of both heads, (B, C): the last map, ReLU'd and globally averaged."""
    return functional.relu(maps[-1]).mean(dim=(2, 3))


def map_statistics(maps: list[Tensor]) -> Tensor:
    """Return the input of `Surprise`, (B, D): the mean and standard deviation of every channel of every map.

    D is twice the sum of the maps' channels, `widths`.
    """
    means = [h.mean(dim=(2, 3)) for h in maps]
    spreads = [
        (h - mean[:, :, None, None]).square().mean(dim=(2, 3)).sqrt() for h, mean in zip(maps, means, strict=True)
    ]
    return torch.cat(means + spreads, dim=1)


class CriticQ(nn.Module):
    """The trunk with its two heads, which give D's score and Q's logits."""

    def __init__(self, channels: int, n_clusters: int, inputs: int = 3) -> None:
        super().__init__()
        self.trunk = Trunk(channels, inputs)
        self.score = nn.Linear(channels, 1)
        self.code_logits = nn.Linear(channels, n_clusters)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """(B, I, 32, 32) → D's scores (B,) and Q's logits (B, K)."""
        h = self.trunk(crops)
        return self.score(h).squeeze(1), self.code_logits(h)

    def logits(self, crops: Tensor) -> Tensor:
        """(B, I, 32, 32) → Q's logits alone, (B, K)."""
        logits: Tensor = self.code_logits(self.trunk(crops))
        return logits


class NormConv(nn.Sequential):
    """A convolution and batch norm, which are one convolution when the network is served.

    Args:
        inputs: channels of its input.
        outputs: channels of its output.
        kernel: edge of the kernel, odd.
        stride: 2 halves the map.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs)
        )


class EncoderBlock(nn.Module):
    """Residual block with batch norm that halves the map."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = NormConv(inputs, outputs, 3, stride=2)
        self.conv2 = NormConv(outputs, outputs, 3)
        self.shortcut = NormConv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) → (B, C', S/2, S/2), not negative."""
        h = self.conv2(functional.relu(self.conv1(x)))
        return functional.relu(h + self.shortcut(functional.avg_pool2d(x, 2)))


class Encoder(nn.Module):
    """What sees a cell: a residual network (He et al. 2016) that learns without labels.

    Args:
        inputs: I, channels of a crop.
        width: W, channels of the first map; the three that follow have 2W, 4W and 8W.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.widths = (width, 2 * width, 4 * width, 8 * width)
        self.stem = NormConv(inputs, width, 3)
        self.blocks = nn.ModuleList(EncoderBlock(i, o) for i, o in pairwise(self.widths))

    def maps(self, crops: Tensor) -> list[Tensor]:
        """(B, I, 32, 32) → four maps: (B, W, 32, 32), (B, 2W, 16, 16), (B, 4W, 8, 8) and (B, 8W, 4, 4)."""
        found = [functional.relu(self.stem(crops))]
        for block in self.blocks:
            found.append(block(found[-1]))
        return found

    def forward(self, crops: Tensor) -> Tensor:
        """(B, I, 32, 32) → (B, 8W), the globally averaged last map."""
        return pooled(self.maps(crops))


class CodeHead(nn.Linear):
    """The head of Q on an encoder: one hidden layer, because its clusters are no linear function of the features.

    Args:
        features: F, length of an encoder's features.
        n_clusters: K.
    """

    def __init__(self, features: int, n_clusters: int) -> None:
        super().__init__(HEAD, n_clusters)
        self.hidden = nn.Linear(features, HEAD)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) → logits, (B, K)."""
        return super().forward(functional.relu(self.hidden(features)))


class EncoderQ(nn.Module):
    """Q on an encoder of its own, which it shares with no critic.

    Args:
        encoder: what sees the cells; it becomes the trunk.
        n_clusters: K.
    """

    def __init__(self, encoder: Encoder, n_clusters: int) -> None:
        super().__init__()
        self.trunk = encoder
        self.code_logits = CodeHead(encoder.widths[-1], n_clusters)

    def maps(self, crops: Tensor) -> list[Tensor]:
        """See `Encoder.maps`."""
        return self.trunk.maps(crops)

    def features(self, crops: Tensor) -> Tensor:
        """(B, I, 32, 32) → (B, 8W), which the head is applied to."""
        return pooled(self.maps(crops))

    def logits(self, crops: Tensor) -> Tensor:
        """(B, I, 32, 32) → Q's logits, (B, K)."""
        logits: Tensor = self.code_logits(self.features(crops))
        return logits

    def forward(self, crops: Tensor) -> Tensor:
        """See `logits`."""
        return self.logits(crops)


AnyQ = CriticQ | EncoderQ
"""A network whose head is Q: it shares the trunk of the critic, as in the paper, or has an encoder of its own."""


class Surprise(nn.Module):
    """How unlike the training cells a cell is: −log of the density of a mixture with a Gaussian for each cluster.

    It is not in the paper; Gaussians on the features of a classifier are due to Lee et al. 2018. Its numbers are
    buffers and not parameters, because they are fitted to the training cells and not learned by gradient descent.

    Args:
        features: D, length of `map_statistics`.
        components: P, number of principal components that are used.
        n_clusters: K, number of clusters.
    """

    def __init__(self, features: int, components: int, n_clusters: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.projection: Tensor
        self.centres: Tensor
        self.whitening: Tensor
        self.log_weights: Tensor
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("projection", torch.zeros(features, components))
        self.register_buffer("centres", torch.zeros(n_clusters, components))
        self.register_buffer("whitening", torch.zeros(n_clusters, components, components))
        self.register_buffer("log_weights", torch.zeros(n_clusters))

    @property
    def components(self) -> int:
        """P."""
        return self.projection.shape[1]

    def forward(self, statistics: Tensor) -> Tensor:
        """(B, D) → (B,), in nats up to a constant; the higher, the more unlike."""
        scores = (statistics - self.mean) @ self.projection
        # (K, B, P): each cell relative to each Gaussian.
        white = (scores.unsqueeze(0) - self.centres.unsqueeze(1)) @ self.whitening
        distances = white.square().sum(dim=2)
        logs = self.log_weights.unsqueeze(1) - distances / 2
        # torch.logsumexp becomes an ONNX operator that is not stable everywhere.
        highest = logs.amax(dim=0)
        return -(highest + (logs - highest).exp().sum(dim=0).log())


SCALES = 4
"""Number of sizes at which a picture's spread is measured; each is half of the one before."""
N_STATISTICS = 3 + 1 + 3 * (SCALES - 1)
"""How many numbers say what colour and texture a picture has."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luma of JPEG (ITU-R BT.601)."""


def pictures_in(crops: Tensor) -> list[Tensor]:
    """Return the pictures that (B, I, 32, 32) crops show, (B, 3, 32, 32) each: nucleus, surroundings."""
    return [crops[:, first : first + 3] for first in range(0, crops.shape[1] // 3 * 3, 3)]


def picture_statistics(picture: Tensor) -> Tensor:
    """Return what colour and texture a picture has, (B, 3, 32, 32) → (B, 13).

    It is the mean of every channel, and its standard deviation at each of the `SCALES`. At the finest one it is that of
    the luma alone: JPEG keeps only half the resolution of the chroma, and would look like another tissue.
    """
    mean = picture.mean(dim=(2, 3), keepdim=True)
    luma = (picture - mean).mul(torch.tensor(LUMA, device=picture.device)[:, None, None]).sum(dim=1, keepdim=True)
    found, h = [mean.flatten(1), luma.square().mean(dim=(2, 3)).sqrt()], picture - mean
    for _ in range(SCALES - 1):
        h = functional.avg_pool2d(h, 2)
        found.append(h.square().mean(dim=(2, 3)).sqrt())
    return torch.cat(found, dim=1)


class PictureSurprise(nn.Module):
    """How unlike those of the training cells the pictures in a crop are: the surprise of the most surprising one.

    It does not ask what Q's encoder sees, which is learned to be the same for whatever is not worth telling apart.

    Args:
        pictures: number of `pictures_in` a crop.
        components: see `Surprise`.
        n_clusters: K.
    """

    def __init__(self, pictures: int, components: int, n_clusters: int) -> None:
        super().__init__()
        self.components = components
        self.of = nn.ModuleList(Surprise(N_STATISTICS, components, n_clusters) for _ in range(pictures))

    def forward(self, crops: Tensor) -> Tensor:
        """(B, I, 32, 32) → (B,), in nats up to a constant; the higher, the more unlike."""
        pictures = zip(self.of, pictures_in(crops), strict=True)
        return torch.stack([surprise(picture_statistics(picture)) for surprise, picture in pictures]).amax(dim=0)


AnySurprise = Surprise | PictureSurprise
"""What is asked how unlike the training cells a cell is: the maps of the paper's trunk, or with an encoder the crop."""


def new_surprise(q: AnyQ, n_channels: int, components: int) -> AnySurprise:
    """Return the surprise that belongs to a Q, still without its numbers.

    Args:
        q: the network whose head is Q.
        n_channels: I, channels of a crop.
        components: P.
    """
    n_clusters = q.code_logits.out_features
    if isinstance(q, EncoderQ):
        return PictureSurprise(n_channels // 3, components, n_clusters)
    return Surprise(2 * sum(q.trunk.widths), components, n_clusters)


class ClusterNet(nn.Module):
    """Q as it is served: it gives the cluster probabilities of crops, the surprise and perhaps the features of each."""

    def __init__(self, q: AnyQ, surprise: AnySurprise) -> None:
        super().__init__()
        self.outputs = ["cluster_probs", "surprise", *(["features"] if isinstance(q, EncoderQ) else [])]
        self.trunk = q.trunk
        self.code_logits = q.code_logits
        self.surprise = surprise

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        """(B, I, 32, 32) → the `outputs`: (B, K), rows sum to 1; (B,); and with an encoder (B, F), its features."""
        maps = self.trunk.maps(crops)
        features = pooled(maps)
        seen = crops if isinstance(self.surprise, PictureSurprise) else map_statistics(maps)
        found = functional.softmax(self.code_logits(features), dim=1), self.surprise(seen)
        return (*found, features) if "features" in self.outputs else found


class ConvBlock(nn.Sequential):
    """A 3×3 convolution, batch norm and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
        )


class Segmenter(nn.Module):
    """A U-Net that finds nuclei (Ronneberger et al. 2015), with one convolution a level on the way up.

    It works on blocks of 2 × 2 pixels, of which it sees all values and gives all maps: most of its work would otherwise
    be done at full size, where a pixel tells least.

    What it gives for a pixel depends on the pixels up to `nuclei.network.REACH_PX` away, and a shift by
    `nuclei.network.GRID_PX` shifts its maps.

    Args:
        channels: C, width of the first level; those below have 2C and 3C.
    """

    BLOCK = 2

    def __init__(self, channels: int) -> None:
        super().__init__()
        c = channels
        widths = ((3 * self.BLOCK**2, c), (c, 2 * c), (2 * c, 3 * c))
        self.down = nn.ModuleList(nn.Sequential(ConvBlock(i, o), ConvBlock(o, o)) for i, o in widths)
        self.up = nn.ModuleList([ConvBlock(5 * c, 2 * c), ConvBlock(3 * c, c)])
        self.head = nn.Conv2d(c, 2 * self.BLOCK**2, 1)

    def forward(self, tiles: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] → (B, 2, H, W), logits of nucleus and depth; H and W are multiples of 8."""
        maps = [self.down[0](functional.pixel_unshuffle(tiles, self.BLOCK))]
        for level in self.down[1:]:
            maps.append(level(functional.max_pool2d(maps[-1], 2)))
        h = maps.pop()
        for level in self.up:
            h = level(torch.cat([functional.interpolate(h, scale_factor=2, mode="nearest"), maps.pop()], dim=1))
        return functional.pixel_shuffle(self.head(h), self.BLOCK)
