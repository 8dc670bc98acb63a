"""Q and G by PyTorch: the fallback without ONNX Runtime or the ONNX files. It is imported only then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from app.pipeline.crops import to_network
from app.pipeline.errors import InvalidBundle
from app.pipeline.manifest import WEIGHTS, Manifest
from app.pipeline.networks.architecture import (
    ClusterNet,
    CriticQ,
    Encoder,
    EncoderQ,
    Generator,
    Segmenter,
    new_surprise,
)
from app.pipeline.networks.backend import BackendName, Described, Device, Precision
from app.pipeline.types import CHANNELS, Float32Array, UInt8Array


class TorchBackend:
    """Computes Q and G with the weights of weights.safetensors, on CUDA where there is a GPU.

    Args:
        directory: directory of the bundle.
        manifest: its manifest.

    Attributes:
        q: the network of Q, in evaluation mode.
        generator: the network of G, in evaluation mode.

    Raises:
        InvalidBundle: the weights do not fit the manifest's architecture.
    """

    name: BackendName = "pytorch"
    precisions: tuple[Precision, ...] = ("full",)

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self.device: Device = "cuda" if torch.cuda.is_available() else "cpu"
        architecture = manifest.architecture
        n_channels, n_clusters = CHANNELS[architecture.crops], manifest.n_clusters
        self.generator = Generator(
            architecture.channels, n_clusters, manifest.latent_size, architecture.code_scale, n_channels
        )
        q: CriticQ | EncoderQ
        if architecture.encoder_width is None:
            q = CriticQ(architecture.channels, n_clusters, n_channels)
        else:
            q = EncoderQ(Encoder(n_channels, architecture.encoder_width), n_clusters)
        self.q = ClusterNet(q, new_surprise(q, n_channels, manifest.outliers.components))
        nets = nn.ModuleDict({"generator": self.generator, "q": self.q})
        try:
            nets.load_state_dict(load_file(directory / WEIGHTS))
        except (SafetensorError, RuntimeError, OSError, ValueError) as error:
            raise InvalidBundle(f"{WEIGHTS} does not fit the manifest's architecture.") from error
        nets.eval().to(self.device)

    def describe(self, crops: Float32Array, precision: Precision = "full") -> Described:
        """See `Backend`; there is no fast Q here, so `precision` is ignored."""
        with torch.inference_mode():
            outputs = self.q(torch.from_numpy(crops).to(self.device))
            return Described(*(output.cpu().numpy() for output in outputs))

    def generate(self, latent: Float32Array) -> Float32Array:
        """See `Backend`."""
        with torch.inference_mode():
            return np.asarray(self.generator(torch.from_numpy(latent).to(self.device)).cpu().numpy())


class TorchSegmenter:
    """Computes the maps of nuclei, on CUDA where there is a GPU.

    Args:
        path: the file of the segmenter's weights.

    Raises:
        InvalidBundle: the weights cannot be read, or are not those of a segmenter.
    """

    def __init__(self, path: Path) -> None:
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            weights = load_file(path)
            net = Segmenter(weights["head.weight"].shape[1])
            net.load_state_dict(weights)
        except (SafetensorError, RuntimeError, OSError, ValueError, KeyError) as error:
            raise InvalidBundle(f"{path.name} does not hold the weights of a segmenter.") from error
        self._net = net.eval().to(self._device)

    def __call__(self, pixels: UInt8Array) -> Float32Array:
        """See `nuclei.network.MapNetwork`."""
        with torch.inference_mode():
            tiles = torch.from_numpy(to_network(pixels[None])).to(self._device)
            return torch.sigmoid(self._net(tiles))[0].cpu().numpy()
