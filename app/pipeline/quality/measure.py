"""Measures of a tile by which its quality is judged; the judgement is in `assess`.

Hue and saturation are those of the hue-saturation-density transform of optical density (van der Laak et al. 2000), so
that they do not change with the strength of a stain.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from app.pipeline.nuclei.run_lengths import fill_holes
from app.pipeline.presets import StainParams
from app.pipeline.stain.macenko import macenko
from app.pipeline.stain.normalise import rgb_to_lab
from app.pipeline.stain.optical_density import density_image, is_tissue, optical_density
from app.pipeline.types import BoolArray, Float64Array, Stain, UInt8Array

MIN_TISSUE_PX = 1000
"""Fewest pixels of tissue that are measured: statistics of fewer pixels mean nothing."""
COLOUR_PIXELS = 20_000
"""About how many pixels of tissue colours are measured on."""

FOCUS_SIGMAS = (0.7, 1.4, 2.8)
"""Sigmas in px of Gaussians; fine detail lies between the first two, coarse detail between the last two."""
FOCUS_NOISE = 1.0
"""Energy of coarse detail, in squared grey levels, that rounding to 8 bits can produce by itself."""
GLASS_PX = 9
"""Edge in px of the smallest square that is glass and not a pale spot in tissue."""

BLOCK_PX = 8
"""Edge of JPEG's blocks, px."""
BLOCK_ROWS = 3
"""Only every third line is searched for blocks, which saves time."""

NUCLEAR_SIGMA = 1.0
"""Sigma in px of the Gaussian that smooths haematoxylin, and then the depth in it, before radii are measured."""
MAX_GAP_PX = 60
"""Size of the largest gap between chromatin that is filled, px."""
MIN_RADIUS_PX = 1.5
PEAK_DISTANCE_PX = 3
"""Distance within which a peak of depth must be the highest, px."""

STAIN_FEATURES = (
    *(f"{statistic} of {axis}" for statistic in ("the mean", "the spread") for axis in "lαβ"),
    *(f"{colour} in {stain}" for stain in ("haematoxylin", "eosin") for colour in ("red", "green", "blue")),
)
"""What the numbers of `Colours.stain` are, in their order."""


@dataclass(frozen=True, slots=True)
class Colours:
    """Colours of N sampled pixels of tissue, before normalisation.

    Attributes:
        hue_deg: (N,) float64, 0 to 360.
        saturation: (N,) float64, 0 = grey.
        density: (N,) float64 mean optical density of the channels, 0 to 255.
        clipped: share of pixels with a channel at 0 or 255.
        stain: (12,) float64, see STAIN_FEATURES; None where two stains cannot be distinguished.
    """

    hue_deg: Float64Array
    saturation: Float64Array
    density: Float64Array
    clipped: float
    stain: Float64Array | None


@dataclass(frozen=True, slots=True)
class QualityMeasures:
    """Measures of one tile. A measure is None where the tile has too little tissue for it.

    Attributes:
        tissue_fraction: share of pixels that are tissue, 0–1.
        focus: energy of fine detail over that of coarse detail; higher is sharper.
        blockiness: how far the steps at the most marked 8-px grid exceed those beside it, over the mean step.
        colours: colours of the tissue.
        radii_px: (N,) float64 radii of nuclei, see `nuclear_radii`; N = 0 where two stains cannot be distinguished.
    """

    tissue_fraction: float
    focus: float | None
    blockiness: float | None
    colours: Colours | None
    radii_px: Float64Array


def measure_quality(uploaded: UInt8Array, pixels: UInt8Array, stains: Stain, params: StainParams) -> QualityMeasures:
    """Measure a tile.

    Args:
        uploaded: (H', W', 3) uint8 RGB, the upload before it was rescaled, which would hide JPEG's blocks.
        pixels: (H, W, 3) uint8 RGB at the bundle's scale.
        stains: `pixels`, normalised and unmixed.
        params: says which pixels are background.
    """
    tissue = stains.tissue if params.tissue_only else is_tissue(pixels, params.min_magnitude)
    radii = np.zeros(0)
    if np.count_nonzero(tissue) < MIN_TISSUE_PX:
        return QualityMeasures(float(tissue.mean()), None, None, None, radii)
    uploaded_tissue = tissue if uploaded is pixels else is_tissue(uploaded, params.min_magnitude)
    if stains.estimate is not None:
        radii = nuclear_radii(stains.haematoxylin, stains.estimate.nuclear_density)
    return QualityMeasures(
        tissue_fraction=float(tissue.mean()),
        focus=measure_focus(pixels, tissue),
        blockiness=measure_blockiness(uploaded, uploaded_tissue),
        colours=_colours(pixels, tissue, params),
        radii_px=radii,
    )


def nuclear_radii(haematoxylin: UInt8Array, nuclear_density: float) -> Float64Array:
    """Return the radii of the largest circles that fit into the areas stained by haematoxylin.

    The segmented nuclei would not do: a segmentation seeks nuclei of the size that it expects, and in a tile at half
    the scale it finds clumps of that size.

    Args:
        haematoxylin: (H, W) uint8 intensity, dark = stained.
        nuclear_density: density that separates nuclei from the rest, 0–255.

    Returns:
        (N,) float64 px, one for each peak of the depth.
    """
    dark = np.pad(density_image(haematoxylin, NUCLEAR_SIGMA) > nuclear_density, 1).astype(np.uint8)
    filled = fill_holes(dark, MAX_GAP_PX)
    depth = cv2.GaussianBlur(cv2.distanceTransform(filled, cv2.DIST_L2, 5), (0, 0), NUCLEAR_SIGMA)
    near = np.ones((2 * PEAK_DISTANCE_PX + 1, 2 * PEAK_DISTANCE_PX + 1), np.uint8)
    peak = (filled > 0) & (depth > MIN_RADIUS_PX) & (depth >= cv2.dilate(depth, near))
    return np.asarray(depth[peak], dtype=np.float64)


def mean_radius(radii_px: Float64Array) -> float:
    """Return Sauter's mean of radii, Σr³ / Σr², in which specks of chromatin weigh little.

    Args:
        radii_px: (N,) float64, N ≥ 1.
    """
    return float((radii_px**3).sum() / (radii_px**2).sum())


def measure_focus(pixels: UInt8Array, tissue: BoolArray) -> float | None:
    """Return the energy of fine over that of coarse detail, away from the edges of glass, which are always sharp.

    Args:
        pixels: (H, W, 3) uint8 RGB at the bundle's scale.
        tissue: (H, W) bool.

    Returns:
        None where there is too little tissue.
    """
    glass = cv2.morphologyEx((~tissue).astype(np.uint8), cv2.MORPH_OPEN, np.ones((GLASS_PX, GLASS_PX), np.uint8))
    reach = 2 * int(np.ceil(3 * FOCUS_SIGMAS[-1])) + 1
    inner = 1 - cv2.dilate(glass, np.ones((reach, reach), np.uint8))
    n = cv2.countNonZero(inner)
    if n < MIN_TISSUE_PX:
        return None
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    sharp, middle, soft = (cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in FOCUS_SIGMAS)
    fine, coarse = (cv2.norm(*band, cv2.NORM_L2SQR, inner) / n for band in ((sharp, middle), (middle, soft)))
    return fine / (coarse + FOCUS_NOISE)


def measure_blockiness(pixels: UInt8Array, tissue: BoolArray) -> float | None:
    """Measure the blockiness of a tile, as the mean over both directions; see `QualityMeasures`.

    A tile may be cut out of an image, so that its first block is not whole: the grid is sought.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        tissue: (H, W) bool, the pixels that are used.

    Returns:
        None where there is too little tissue without gaps.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.int16)
    along = [_grid_steps(grey[::BLOCK_ROWS], tissue[::BLOCK_ROWS])]
    along.append(_grid_steps(grey[:, ::BLOCK_ROWS].T, tissue[:, ::BLOCK_ROWS].T))
    found = [steps for steps in along if steps is not None]
    return sum(found) / len(found) if found else None


def _grid_steps(grey: np.ndarray, tissue: BoolArray) -> float | None:
    """Return the blockiness along the rows of (H, W) int16 grey levels."""
    if grey.shape[1] < 2 * BLOCK_PX:
        return None
    steps = np.abs(np.diff(grey, axis=1))
    whole = tissue[:, :-3] & tissue[:, 1:-2] & tissue[:, 2:-1] & tissue[:, 3:]
    # Twice the step less those on its two sides, which is small at an edge of the tissue, several pixels wide.
    excess = np.where(whole, 2 * steps[:, 1:-1] - steps[:, :-2] - steps[:, 2:], 0).sum(axis=0, dtype=np.int64) / 2
    counts = whole.sum(axis=0)
    per_phase = np.array([counts[phase::BLOCK_PX].sum() for phase in range(BLOCK_PX)])
    if per_phase.min() < MIN_TISSUE_PX / BLOCK_PX:
        return None
    phases = np.array([excess[phase::BLOCK_PX].sum() for phase in range(BLOCK_PX)]) / per_phase
    mean_step = float(steps[:, 1:-1][whole].mean())
    return float(phases.max() - np.median(phases)) / max(mean_step, 1.0)


def _colours(pixels: UInt8Array, tissue: BoolArray, params: StainParams) -> Colours:
    places = np.flatnonzero(tissue)
    sample = pixels.reshape(-1, 3)[places[:: max(1, len(places) // COLOUR_PIXELS)]]
    density = optical_density(sample)
    mean = density.mean(axis=1)
    x = density[:, 0] / mean - 1
    y = (density[:, 1] - density[:, 2]) / (np.sqrt(3) * mean)
    return Colours(
        hue_deg=np.rad2deg(np.arctan2(y, x)) % 360,
        saturation=np.hypot(x, y),
        density=mean,
        clipped=float(((sample == 0) | (sample == 255)).any(axis=1).mean()),
        stain=_stain_features(sample, params),
    )


def _stain_features(sample: UInt8Array, params: StainParams) -> Float64Array | None:
    matrix = macenko(sample, min_magnitude=params.min_magnitude, angle_percentiles=params.angle_percentiles)
    if matrix is None:
        return None
    lab = rgb_to_lab(sample)
    return np.concatenate([lab.mean(axis=0), lab.std(axis=0), matrix[:, 0], matrix[:, 1]])
