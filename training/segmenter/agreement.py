"""What the network finds in a tile, and how well it agrees with itself: this needs no annotation."""

from __future__ import annotations

from statistics import fmean

import numpy as np
import torch
from torch import Tensor, nn

from app.pipeline.crops import to_network
from app.pipeline.nuclei.network import MapNetwork, divide, predict_maps
from app.pipeline.presets import LEARNED
from app.pipeline.types import Float32Array, Int32Array, UInt8Array
from training.metrics.nuclei import count_overlap, panoptic_quality
from training.segmenter.pseudo_labels import at_network_scale
from training.segmenter.views import SYMMETRIES, restain, view, view_back

CHECKED_PX = 320
"""Edge of the square in the middle of a tile on which agreement is measured, px."""
LARGEST_PX = 11_000
"""No nucleus has a larger area, px: that of a circle of 60 µm at 0.5 µm per pixel. What is larger counts as not found:
else a network that takes every tile for one nucleus would agree with itself perfectly."""
PALE, DARK = 0.67, 1.2
"""Factors on the optical density of the two views that are compared."""


def as_map_network(net: nn.Module, device: torch.device, precision: str = "float32") -> MapNetwork:
    """Return the network as the pipeline asks it: from pixels to probabilities, in numpy."""

    def network(pixels: UInt8Array) -> Float32Array:
        narrow = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
        with torch.inference_mode(), narrow:
            asked = torch.from_numpy(to_network(pixels[None])).to(device, memory_format=torch.channels_last)
            return np.asarray(torch.sigmoid(net(asked).float())[0].cpu().numpy())

    return network


def maps_of_views(pixels: UInt8Array, network: MapNetwork) -> Float32Array:
    """Return the maps of the eight symmetries of a tile, turned back, (8, 2, h, w) float32.

    Args:
        pixels: (h, w, 3) uint8 RGB at the network's scale.
        network: gives the maps.
    """
    image = torch.from_numpy(pixels).permute(2, 0, 1)
    found = [
        view_back(torch.from_numpy(predict_maps(_as_pixels(view(image, symmetry)), network)), symmetry)
        for symmetry in SYMMETRIES
    ]
    return torch.stack(found).numpy()


def _as_pixels(image: Tensor) -> UInt8Array:
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def find_nuclei(pixels: UInt8Array, network: MapNetwork) -> Int32Array:
    """Return the label image of the nuclei that the network finds, (h, w) int32; the labels may have gaps.

    Args:
        pixels: (h, w, 3) uint8 RGB at the network's scale.
        network: gives the maps.
    """
    maps = predict_maps(pixels, network)
    found = divide(maps, maps.shape[1:], at_network_scale(LEARNED))
    return np.where(np.bincount(found.ravel())[found] > LARGEST_PX, 0, found)


def self_agreement(tiles: list[UInt8Array], network: MapNetwork) -> dict[str, float]:
    """Measure how well the nuclei of a pale view and those of a dark, turned one agree, on the middle of each tile.

    A network that overlooks pale nuclei finds more of them in the dark view, and one that sees nuclei everywhere sees
    others in each view.

    Args:
        tiles: (h, w, 3) uint8 RGB each, at the network's scale.
        network: gives the maps.

    Returns:
        "agreement", the panoptic quality of one view as the truth of the other, 0–1, and 0 for a tile without nuclei;
        "nuclei", their number in an average view. Both are means over the tiles.
    """
    scores, counts = [], []
    for pixels in tiles:
        image = torch.from_numpy(_middle(pixels)).permute(2, 0, 1)
        pale = find_nuclei(_as_pixels(_restained(image, PALE)), network)
        turned = find_nuclei(_as_pixels(view(_restained(image, DARK), SYMMETRIES[-1])), network)
        overlap = count_overlap(pale, view_back(torch.from_numpy(turned), SYMMETRIES[-1]).numpy())
        n = len(overlap.truth_px) + len(overlap.found_px)
        scores.append(panoptic_quality(overlap) if n else 0.0)
        counts.append(n / 2)
    return {"agreement": fmean(scores), "nuclei": fmean(counts)}


def _middle(pixels: UInt8Array) -> UInt8Array:
    rows, columns = (
        slice(max(0, (length - CHECKED_PX) // 2), max(0, (length - CHECKED_PX) // 2) + CHECKED_PX)
        for length in pixels.shape[:2]
    )
    return np.ascontiguousarray(pixels[rows, columns])


def _restained(image: Tensor, factor: float) -> Tensor:
    """Return (3, h, w) uint8 with an optical density that is multiplied by a factor."""
    stained = restain(image[None].float() / 255, torch.tensor(factor))[0]
    return (stained * 255).round().to(torch.uint8)
