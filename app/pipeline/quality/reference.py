"""What the training tiles look like → how far from them a tile may be before it is flagged.

The measurements are taken on whole tiles and on random squares cut from them, which are called views here, so that a
tile of another size or with other contents is not flagged for that.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from PIL import Image

from app.pipeline.errors import UnsuitableTiles
from app.pipeline.manifest import N_STAIN_FEATURES, QualityReference
from app.pipeline.presets import StainParams
from app.pipeline.quality.measure import QualityMeasures, mean_radius, measure_blockiness, measure_quality
from app.pipeline.stain.optical_density import is_tissue
from app.pipeline.types import Float64Array, Int64Array, Stain, UInt8Array

SQUARES_PER_TILE = 24
SQUARE_SIDES = (400, 1000)
"""Shortest and longest edge of a square, px."""
SEED = 0
MIN_NUCLEI = 20
"""Smallest number of nuclei whose mean radius says something about the scale."""
ORDINARY_JPEG = 75
"""A JPEG quality that must not be flagged: blockiness is measured on views that were saved with it."""
HUE_QUANTILES = (0.005, 0.995)
SATURATION_QUANTILE = 0.01

FOCUS_MARGIN = 0.75
"""The limit of focus, as a multiple of that of the least sharp view."""
BLOCK_MARGIN = 3.0
"""The limit of blockiness, as a multiple of that of the most blocky view at ORDINARY_JPEG."""
BLOCK_FLOOR = 1e-3
"""The lowest blockiness that is multiplied: else, training tiles without blocks would make every other tile blocky."""
TISSUE_MARGIN = 0.25
"""The limit of the tissue fraction, as a multiple of that of the emptiest view."""
CLIPPED_MARGIN, CLIPPED_FLOOR = 3.0, 0.02
"""The limit of the clipped share, as a multiple of that of the view with the most; and the lowest limit, 0–1."""
RADIUS_MARGINS = 1.05, 1.2
"""The smallest mean radius over the lower limit, and the upper limit over the largest.

The margin is wider above: blasts have large nuclei, but few cells of marrow have small ones.
"""
RADIUS_OVER_FOCUS_MARGIN = 1.1
"""The same margin on both sides, for the ratio of radius to focus."""
HUE_MARGIN_DEG = 10.0
"""Added to the range of hues on both sides, degrees."""
SATURATION_MARGIN = 0.5
"""The limit of saturation, as a multiple of that of the least saturated view."""
MIN_HE_SHARE = 0.85
"""Smallest share of tissue pixels within the hue range, 0–1.

At least 0.98 of every training view is within it; tiles of other laboratories have reached down to 0.9.
"""
STAIN_MARGIN, STAIN_FLOOR = 1.5, 2.0
"""The limit of the stain distance, as a multiple of that of the view furthest from all other tiles; and the lowest."""
SCALE_FLOOR = np.array([0.03, 0.01, 0.01, 0.03, 0.01, 0.004, *[0.03] * 6])
"""Smallest standard deviation of each stain feature: a few tiles may agree by chance."""


@dataclass(frozen=True)
class Views:
    """Measurements on V views, each a tile or a square cut from one; NaN if there was too little to measure.

    Attributes:
        tile_index: (V,) int64, the index of each view's tile.
        focus: (V,), see `QualityMeasures` of app.pipeline.quality.measure.
        blockiness: (V,) after saving as JPEG of quality ORDINARY_JPEG.
        tissue_fraction: (V,) 0–1.
        clipped: (V,) share of tissue pixels with a channel at 0 or 255, 0–1.
        saturation: (V,) SATURATION_QUANTILE of the tissue pixels.
        hue_deg: (V, 2) HUE_QUANTILES of the tissue pixels, degrees.
        stain: (V, 12) features, see `STAIN_FEATURES` of app.pipeline.quality.measure.
        nuclear_radius_px: (V,) mean radius of nuclei, px.
    """

    tile_index: Int64Array
    focus: Float64Array
    blockiness: Float64Array
    tissue_fraction: Float64Array
    clipped: Float64Array
    saturation: Float64Array
    hue_deg: Float64Array
    stain: Float64Array
    nuclear_radius_px: Float64Array

    def as_arrays(self) -> dict[str, Any]:
        """Return the arrays by name, to be stored beside other arrays; `from_arrays` reads them."""
        return {f"view_{field.name}": getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, stored: Mapping[str, np.ndarray]) -> Views:
        """Return the views whose arrays, from `as_arrays`, are among the stored ones."""
        return cls(**{field.name: stored[f"view_{field.name}"] for field in fields(cls)})

    def only(self, chosen: np.ndarray) -> Views:
        """Return the views for which the (V,) bool `chosen` is true."""
        return Views(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def random_square(shape: tuple[int, int], random: np.random.Generator) -> tuple[slice, slice]:
    """Return the rows and columns of a square at a random place of an (H, W) tile.

    Its size is random within SQUARE_SIDES, but no larger than the tile.
    """
    low, high = (min(side, *shape) for side in SQUARE_SIDES)
    side = int(random.integers(low, high + 1))
    top, left = (int(random.integers(0, edge - side + 1)) for edge in shape)
    return slice(top, top + side), slice(left, left + side)


def measure_views(index: int, pixels: UInt8Array, stains: Stain, params: StainParams) -> list[dict[str, Any]]:
    """Measure a tile and SQUARES_PER_TILE random squares of it.

    Args:
        index: the index of the tile, which also seeds the squares.
        pixels: (H, W, 3) uint8 RGB.
        stains: of the whole tile; those of the squares are cut from it.
        params: of the stain estimate; they decide which pixels are background.

    Returns:
        One dictionary of the fields of `Views` for each view.
    """
    random = np.random.default_rng((SEED, index))
    height, width = pixels.shape[:2]
    squares = [random_square((height, width), random) for _ in range(SQUARES_PER_TILE)]
    rows = []
    for square in [(slice(0, height), slice(0, width)), *squares]:
        measured = _measure(np.ascontiguousarray(pixels[square]), stains.part(square), params)
        rows.append({"tile_index": index, **measured})
    return rows


def stack_views(rows: list[dict[str, Any]]) -> Views:
    """Return the rows of `measure_views`, of all tiles, as `Views`."""
    return Views(**{field.name: np.array([row[field.name] for row in rows]) for field in fields(Views)})


def _measure(pixels: UInt8Array, stains: Stain, params: StainParams) -> dict[str, Any]:
    """Return the fields of `Views` of one view, without its `tile_index`."""
    measures = measure_quality(pixels, pixels, stains, params)
    saved = jpeg(pixels, ORDINARY_JPEG)
    radii = measures.radii_px
    return {
        **_colour_fields(measures),
        "focus": _or_nan(measures.focus),
        "blockiness": _or_nan(measure_blockiness(saved, is_tissue(saved, params.min_magnitude))),
        "nuclear_radius_px": mean_radius(radii) if len(radii) >= MIN_NUCLEI else np.nan,
    }


def _colour_fields(measures: QualityMeasures) -> dict[str, Any]:
    """Return the fields of `Views` that need tissue; NaN if the view has too little."""
    colours = measures.colours
    no_stain = np.full(N_STAIN_FEATURES, np.nan)
    if colours is None:
        scalars = dict.fromkeys(("tissue_fraction", "clipped", "saturation"), np.nan)
        return {**scalars, "hue_deg": np.full(2, np.nan), "stain": no_stain}
    return {
        "tissue_fraction": measures.tissue_fraction,
        "clipped": colours.clipped,
        "saturation": float(np.quantile(colours.saturation, SATURATION_QUANTILE)),
        "hue_deg": np.quantile(colours.hue_deg, HUE_QUANTILES),
        "stain": no_stain if colours.stain is None else colours.stain,
    }


def jpeg(pixels: UInt8Array, quality: int) -> UInt8Array:
    """Return pixels as they are after saving them as JPEG of this quality, 0–100."""
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=quality)
    with Image.open(data) as image:
        return np.asarray(image)


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def fit_reference(views: Views, stain_matrices: Float64Array) -> QualityReference:
    """Set the limits of the quality flags a margin beyond the extremes of the views.

    Args:
        views: of the training tiles.
        stain_matrices: (T, 3, 2), after normalisation; NaN for a tile in which no two stains were found.

    Raises:
        UnsuitableTiles: one of the measurements is NaN on every view in which two stains are seen.
    """
    seen = views.only(np.asarray(np.isfinite(views.stain).all(axis=1)))
    for field in fields(seen):
        if np.isnan(getattr(seen, field.name)).all():
            raise UnsuitableTiles(
                f"{field.name} can be measured on none of the training tiles in which two stains are seen."
            )
    matrix = np.nanmean(stain_matrices, axis=0)
    centre, scale = _centre_and_scale(seen.stain)
    return QualityReference.model_validate(
        {
            "stain_matrix": (matrix / np.linalg.norm(matrix, axis=0)).T.tolist(),
            "stain_centre": centre.tolist(),
            "stain_scale": scale.tolist(),
            "max_stain_distance": max(STAIN_FLOOR, STAIN_MARGIN * _furthest_left_out(seen)),
            "hue_range_deg": (
                max(0.0, seen.hue_deg[:, 0].min() - HUE_MARGIN_DEG),
                min(360.0, seen.hue_deg[:, 1].max() + HUE_MARGIN_DEG),
            ),
            "min_saturation": SATURATION_MARGIN * seen.saturation.min(),
            "min_he_share": MIN_HE_SHARE,
            "min_focus": FOCUS_MARGIN * np.nanmin(seen.focus),
            "max_blockiness": BLOCK_MARGIN * max(BLOCK_FLOOR, np.nanmax(seen.blockiness)),
            "min_tissue_fraction": TISSUE_MARGIN * seen.tissue_fraction.min(),
            "max_clipped": min(1.0, max(CLIPPED_FLOOR, CLIPPED_MARGIN * seen.clipped.max())),
            "nuclear_radius_range_px": (
                np.nanmin(seen.nuclear_radius_px) / RADIUS_MARGINS[0],
                np.nanmax(seen.nuclear_radius_px) * RADIUS_MARGINS[1],
            ),
            "radius_over_focus_range_px": (
                np.nanmin(seen.nuclear_radius_px / seen.focus) / RADIUS_OVER_FOCUS_MARGIN,
                np.nanmax(seen.nuclear_radius_px / seen.focus) * RADIUS_OVER_FOCUS_MARGIN,
            ),
            "min_nuclei": MIN_NUCLEI,
        }
    )


def _centre_and_scale(stain: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Median and robust standard deviation of each of the (V, 12) features."""
    centre = np.median(stain, axis=0)
    spread = 1.4826 * np.median(np.abs(stain - centre), axis=0)
    return centre, np.maximum(spread, SCALE_FLOOR)


def _furthest_left_out(views: Views) -> float:
    """Return the largest distance of a view from the views of the other tiles, or of a single tile, from its own."""
    tiles = np.unique(views.tile_index)
    distances = []
    for tile in tiles:
        own = views.tile_index == tile
        centre, scale = _centre_and_scale(views.stain[~own] if len(tiles) > 1 else views.stain)
        deviations = (views.stain[own] - centre) / scale
        distances.append(np.sqrt(np.square(deviations).mean(axis=1)).max())
    return float(max(distances))
