"""What is measured on a tile to judge its quality; nothing here decides.

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
"""Tissue below which there is nothing to measure: statistics of fewer pixels say nothing."""
COLOUR_PIXELS = 20_000
"""Tissue pixels, about, that colours are measured on."""

FOCUS_SIGMAS = (0.7, 1.4, 2.8)
"""px; the fine band of detail lies between the first two, the coarse one between the last two."""
FOCUS_NOISE = 1.0
"""Squared grey levels of coarse detail that rounding to 8 bits may pass for."""
GLASS_PX = 9
"""Edge of the smallest square that is glass and not a pale spot in tissue."""

BLOCK_PX = 8
"""Edge of JPEG's blocks."""
BLOCK_ROWS = 3
"""Every so many lines are looked at for blocks."""

NUCLEAR_SIGMA = 1.0
"""px; smooths haematoxylin, and then the depth in it, before nuclei are sized."""
MAX_GAP_PX = 60
"""Largest gap in a nucleus, as chromatin leaves it."""
MIN_RADIUS_PX = 1.5
PEAK_DISTANCE_PX = 3

STAIN_FEATURES = (
    *(f"{statistic} of {axis}" for statistic in ("the mean", "the spread") for axis in "lαβ"),
    *(f"{colour} in {stain}" for stain in ("haematoxylin", "eosin") for colour in ("red", "green", "blue")),
)
"""In the order of `Colours.stain`."""


@dataclass(frozen=True, slots=True)
class Colours:
    """Colours of the tissue, as they came; a row per sampled pixel.

    Attributes:
        hue_deg: (N,) float64, 0 to 360.
        saturation: (N,) float64, 0 = grey.
        density: (N,) float64 mean optical density of the channels, 0–255 scale.
        clipped: share of pixels with a channel at 0 or 255.
        stain: (12,) float64, see STAIN_FEATURES; None where no two stains can be told apart.
    """

    hue_deg: Float64Array
    saturation: Float64Array
    density: Float64Array
    clipped: float
    stain: Float64Array | None


@dataclass(frozen=True, slots=True)
class QualityMeasures:
    """QualityMeasures of one tile; None where it has too little tissue to measure.

    Attributes:
        tissue_fraction: share of pixels that are tissue, 0–1.
        focus: energy of fine detail over that of coarse detail; higher is sharper.
        blockiness: how far steps at the most marked 8-px grid exceed those beside it, over the mean step.
        colours: of the tissue.
        radii_px: (N,) float64 of the circles within what haematoxylin stains most; N = 0 where there are no two stains.
    """

    tissue_fraction: float
    focus: float | None
    blockiness: float | None
    colours: Colours | None
    radii_px: Float64Array


def measure_quality(uploaded: UInt8Array, pixels: UInt8Array, stains: Stain, params: StainParams) -> QualityMeasures:
    """Measure a tile.

    Args:
        uploaded: (H', W', 3) uint8 RGB as it came: rescaling hides JPEG's blocks.
        pixels: (H, W, 3) uint8 RGB at the bundle's scale.
        stains: the unmixing of `pixels`.
        params: says what counts as background.
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
        focus=_focus(pixels, tissue),
        blockiness=measure_blockiness(uploaded, uploaded_tissue),
        colours=_colours(pixels, tissue, params),
        radii_px=radii,
    )


def nuclear_radii(haematoxylin: UInt8Array, nuclear_density: float) -> Float64Array:
    """Radii of the largest circles within what haematoxylin stains more than the rest.

    Not of the segmented nuclei: a segmentation seeks nuclei of the size that it knows, and finds clumps of them in a
    tile of half the scale.

    Args:
        haematoxylin: (H, W) uint8 intensity, dark = stained.
        nuclear_density: density that parts nuclei from the rest.

    Returns:
        (N,) float64 px, one per peak of the depth.
    """
    dark = np.pad(density_image(haematoxylin, NUCLEAR_SIGMA) > nuclear_density, 1).astype(np.uint8)
    filled = fill_holes(dark, MAX_GAP_PX)
    depth = cv2.GaussianBlur(cv2.distanceTransform(filled, cv2.DIST_L2, 5), (0, 0), NUCLEAR_SIGMA)
    near = np.ones((2 * PEAK_DISTANCE_PX + 1, 2 * PEAK_DISTANCE_PX + 1), np.uint8)
    peak = (filled > 0) & (depth > MIN_RADIUS_PX) & (depth >= cv2.dilate(depth, near))
    return np.asarray(depth[peak], dtype=np.float64)


def mean_radius(radii_px: Float64Array) -> float:
    """Sauter's mean, Σr³ / Σr², of at least one radius: specks of chromatin weigh little."""
    return float((radii_px**3).sum() / (radii_px**2).sum())


def _focus(pixels: UInt8Array, tissue: BoolArray) -> float | None:
    """Energy of the fine band of grey levels over that of the coarse band, away from glass: its edge is sharper."""
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
    """See `QualityMeasures.blockiness`: the mean over both directions. A crop may begin anywhere in a block.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        tissue: (H, W) bool, what counts.

    Returns:
        None where too little tissue is whole.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.int16)
    along = [_grid_steps(grey[::BLOCK_ROWS], tissue[::BLOCK_ROWS])]
    along.append(_grid_steps(grey[:, ::BLOCK_ROWS].T, tissue[:, ::BLOCK_ROWS].T))
    found = [steps for steps in along if steps is not None]
    return sum(found) / len(found) if found else None


def _grid_steps(grey: np.ndarray, tissue: BoolArray) -> float | None:
    """Blockiness along the rows of (H, W) int16 grey levels."""
    if grey.shape[1] < 2 * BLOCK_PX:
        return None
    steps = np.abs(np.diff(grey, axis=1))
    whole = tissue[:, :-3] & tissue[:, 1:-2] & tissue[:, 2:-1] & tissue[:, 3:]
    # Twice the step less those on its two sides: not an edge of the tissue, which is several steps wide.
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
