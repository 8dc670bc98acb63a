"""Tiles degraded in known ways, and pictures that are no H&E tiles, each with the flags that are right for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from skimage import data as pictures

from app.pipeline.quality.reference import jpeg
from app.pipeline.stain.macenko import haematoxylin_first, macenko
from app.pipeline.stain.optical_density import is_tissue, optical_density
from app.pipeline.types import UInt8Array

MIN_MAGNITUDE = 16
WHITE_PX = 1000
NOISE_PX = 512
NOISE_PICTURES = 6
STAIN_FLAGS = frozenset({"stain_out_of_range", "not_he"})
HAEMATOXYLIN_DAB = np.array([[0.650, 0.704, 0.286], [0.268, 0.570, 0.776]])
"""Optical densities of both stains (Ruifrok & Johnston 2001)."""

Change = Callable[[UInt8Array], UInt8Array]


@dataclass(frozen=True)
class Condition:
    """A degradation of a tile.

    Attributes:
        change: makes the degraded tile.
        right: flags of which one is right; if empty, no flag is right.
    """

    change: Change
    right: frozenset[str]


def blur(sigma: float) -> Change:
    """Blur with a Gaussian of `sigma` px."""
    return lambda pixels: np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), dtype=np.uint8)


def turn_hue(degrees: float) -> Change:
    """Rotate the hue of HSV by so many degrees."""

    def change(pixels: UInt8Array) -> UInt8Array:
        hsv = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0] + degrees) % 360
        return _rounded(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255)

    return change


def stain_strength(factor: float) -> Change:
    """Multiply every optical density by a factor."""
    table = _rounded(256 * ((np.arange(256) + 1) / 256) ** factor - 1)
    return lambda pixels: table[pixels]


def expose(gain: float) -> Change:
    """Multiply every intensity by a gain, and clip."""
    return lambda pixels: _rounded(pixels * np.float64(gain))


def crush(level: float) -> Change:
    """Subtract a black level from every intensity, and clip."""
    return lambda pixels: _rounded(pixels - np.float64(level))


def resample(factor: float) -> Change:
    """Resize by a factor, as if the tile had been scanned at another scale."""
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return lambda pixels: np.asarray(cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=method), np.uint8)


def pad(pixels: UInt8Array) -> UInt8Array:
    """Add pure white on the right and below, half as wide and high as the tile."""
    height, width = pixels.shape[:2]
    return np.pad(pixels, ((0, height // 2), (0, width // 2), (0, 0)), constant_values=255)


def as_dab(pixels: UInt8Array) -> UInt8Array:
    """Replace eosin by the brown of DAB, as in immunohistochemistry."""
    tissue = pixels[is_tissue(pixels, MIN_MAGNITUDE)]
    found = macenko(tissue, min_magnitude=MIN_MAGNITUDE, angle_percentiles=(1, 99))
    if found is None:
        return pixels
    stains = haematoxylin_first(found)
    amounts = np.clip(optical_density(pixels) @ np.linalg.pinv(stains).T, 0, None)
    vectors = HAEMATOXYLIN_DAB / np.linalg.norm(HAEMATOXYLIN_DAB, axis=1, keepdims=True)
    return _rounded(256 ** (1 - amounts @ vectors / 255) - 1)


def as_fluorescence(pixels: UInt8Array) -> UInt8Array:
    """Turn dark structures into a blue glow on black."""
    glow = np.clip(145.0 - cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), 0, None) * 1.7
    return _rounded(np.stack([0.05 * glow, 0.25 * glow, glow], axis=-1))


def as_grey(pixels: UInt8Array) -> UInt8Array:
    """Remove the colour."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), dtype=np.uint8)


def photographs() -> list[UInt8Array]:
    """Return pictures of scikit-image, one of them with DAB, and colour noise with the spectrum of photographs."""
    found = [pictures.astronaut(), pictures.coffee(), pictures.chelsea(), pictures.immunohistochemistry()]
    return [*found, *(_natural_noise(seed) for seed in range(NOISE_PICTURES))]


def white_tile() -> UInt8Array:
    """Return a white tile, as of glass."""
    return np.full((WHITE_PX, WHITE_PX, 3), 255, np.uint8)


def _natural_noise(seed: int) -> UInt8Array:
    """Draw noise of amplitude 1/f, stronger in lightness than in colour (Ruderman et al. 1998), (512, 512, 3)."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(NOISE_PX), np.fft.fftfreq(NOISE_PX)))
    frequency[0, 0] = 1
    white = np.random.default_rng(seed).normal(size=(3, NOISE_PX, NOISE_PX))
    layers = np.moveaxis(np.fft.ifft2(np.fft.fft2(white) / frequency).real, 0, -1)
    colours = np.array([[1, 0.5, 0.5], [1, 0, -0.5], [1, -0.5, 0]])
    return _rounded(128 + 50 * (layers / layers.std(axis=(0, 1))) @ colours.T)


def _rounded(values: np.ndarray) -> UInt8Array:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


CONDITIONS = {
    "as it is": Condition(lambda pixels: pixels, frozenset()),
    "JPEG quality 85": Condition(lambda pixels: jpeg(pixels, 85), frozenset()),
    "white beside it": Condition(pad, frozenset()),
    "blur, σ 2.5 px": Condition(blur(2.5), frozenset({"blurred"})),
    "blur, σ 5 px": Condition(blur(5), frozenset({"blurred"})),
    "JPEG quality 8": Condition(lambda pixels: jpeg(pixels, 8), frozenset({"compressed"})),
    "over-exposed ×1.3": Condition(expose(1.3), frozenset({"saturated"})),
    "over-exposed ×1.6": Condition(expose(1.6), frozenset({"saturated"})),
    "black level 60": Condition(crush(60), frozenset({"saturated"})),
    "hue −40°": Condition(turn_hue(-40), STAIN_FLAGS),
    "hue +40°": Condition(turn_hue(40), STAIN_FLAGS),
    "hue +90°": Condition(turn_hue(90), STAIN_FLAGS),
    "hue +180°": Condition(turn_hue(180), STAIN_FLAGS),
    "stain ×0.5": Condition(stain_strength(0.5), frozenset({"stain_out_of_range"})),
    "stain ×1.8": Condition(stain_strength(1.8), frozenset({"stain_out_of_range"})),
    "DAB for eosin": Condition(as_dab, STAIN_FLAGS),
    "fluorescence": Condition(as_fluorescence, frozenset({"not_he"})),
    "grey": Condition(as_grey, frozenset({"not_he"})),
    "scale ×0.5": Condition(resample(0.5), frozenset({"scale_suspect"})),
    "scale ×2": Condition(resample(2), frozenset({"scale_suspect"})),
}
"""Degradations of tiles and crops, by name."""
PICTURES = {
    "photographs": (photographs, STAIN_FLAGS),
    "white tile": (lambda: [white_tile()], frozenset({"little_tissue"})),
}
"""Pictures that are no tiles, and the flags of which one is right, by name."""
