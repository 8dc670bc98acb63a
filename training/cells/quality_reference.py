"""What the training tiles look like → how far from them a tile may be before it is flagged.

Measured on the tiles and on random crops of them, so that another size or other contents of a tile raise no alarm.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from PIL import Image

from app.pipeline.manifest import N_STAIN_FEATURES, QualityReference
from app.pipeline.presets import StainParams
from app.pipeline.quality.measure import QualityMeasures, mean_radius, measure_blockiness, measure_quality
from app.pipeline.stain.optical_density import is_tissue
from app.pipeline.types import Float64Array, Int64Array, Stain, UInt8Array
from training.errors import DataError

CROPS_PER_TILE = 24
CROP_SIDES = (400, 1000)
"""Shortest and longest edge of a crop, px."""
SEED = 0
MIN_NUCLEI = 20
"""Radii below which their mean says nothing of the scale."""
ORDINARY_JPEG = 75
"""Quality that must raise no alarm; blocks are measured on crops that were saved with it."""
HUE_QUANTILES = (0.005, 0.995)
SATURATION_QUANTILE = 0.01

FOCUS_MARGIN = 0.75
"""The limit, over the least sharp crop."""
BLOCK_MARGIN = 3.0
"""Over the most blocky crop at ORDINARY_JPEG."""
BLOCK_FLOOR = 1e-3
"""So that tiles without any blocks do not make every other one blocky."""
TISSUE_MARGIN = 0.25
"""Over the emptiest crop."""
CLIPPED_MARGIN, CLIPPED_FLOOR = 3.0, 0.02
"""Over the crop with the most clipped tissue; and the least limit."""
RADIUS_MARGINS = 1.05, 1.2
"""Smallest mean radius over the limit, and limit over the largest: blasts have large nuclei, little has small ones."""
RADIUS_OVER_FOCUS_MARGIN = 1.1
"""Likewise, on both sides, of the radius over focus."""
HUE_MARGIN_DEG = 10.0
SATURATION_MARGIN = 0.5
MIN_HE_SHARE = 0.85
"""The hue range holds at least 0.98 of every training crop; other laboratories' tiles have reached down to 0.9."""
STAIN_MARGIN, STAIN_FLOOR = 1.5, 2.0
"""Over the distance of the tile, or crop of one, that is furthest from all the other tiles; and the least limit."""
SCALE_FLOOR = np.array([0.03, 0.01, 0.01, 0.03, 0.01, 0.004, *[0.03] * 6])
"""Least standard deviation of each stain feature: a few tiles may agree by chance."""


@dataclass(frozen=True)
class Views:
    """Measures of V views, each a tile or a crop of one; NaN where there was too little to measure.

    Attributes:
        tile_index: (V,) int64, the tile.
        focus: (V,), see `QualityMeasures` of app.pipeline.quality.measure.
        blockiness: (V,) after ORDINARY_JPEG.
        tissue_fraction: (V,)
        clipped: (V,)
        saturation: (V,) low quantile.
        hue_deg: (V, 2) low and high quantile.
        stain: (V, 12) features.
        nuclear_radius_px: (V,) mean.
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
        """By name, to be stored beside other arrays; `from_arrays` is its inverse."""
        return {f"view_{field.name}": getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, stored: Mapping[str, np.ndarray]) -> Views:
        """Read what `as_arrays` gave, among other arrays."""
        return cls(**{field.name: stored[f"view_{field.name}"] for field in fields(cls)})

    def only(self, chosen: np.ndarray) -> Views:
        """The views where (V,) bool `chosen` is true."""
        return Views(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def random_square(shape: tuple[int, int], random: np.random.Generator) -> tuple[slice, slice]:
    """A square of random size and place, as large as CROP_SIDES say or as the (H, W) tile allows."""
    low, high = (min(side, *shape) for side in CROP_SIDES)
    side = int(random.integers(low, high + 1))
    top, left = (int(random.integers(0, edge - side + 1)) for edge in shape)
    return slice(top, top + side), slice(left, left + side)


def measure_views(index: int, pixels: UInt8Array, stains: Stain, params: StainParams) -> list[dict[str, Any]]:
    """Measures of a tile and of crops of it; a row of `Views` each.

    Args:
        index: of the tile.
        pixels: (H, W, 3) uint8 RGB.
        stains: its unmixing; the crops' are parts of it.
        params: says what counts as background.
    """
    random = np.random.default_rng((SEED, index))
    height, width = pixels.shape[:2]
    squares = [random_square((height, width), random) for _ in range(CROPS_PER_TILE)]
    rows = []
    for square in [(slice(0, height), slice(0, width)), *squares]:
        part = Stain(stains.normalised[square], stains.haematoxylin[square], stains.tissue[square], stains.estimate)
        rows.append({"tile_index": index, **_measure(np.ascontiguousarray(pixels[square]), part, params)})
    return rows


def stack_views(rows: list[dict[str, Any]]) -> Views:
    """The rows of every tile as `Views`."""
    return Views(**{field.name: np.array([row[field.name] for row in rows]) for field in fields(Views)})


def _measure(pixels: UInt8Array, stains: Stain, params: StainParams) -> dict[str, Any]:
    measures = measure_quality(pixels, pixels, stains, params)
    saved = jpeg(pixels, ORDINARY_JPEG)
    radii = measures.radii_px
    return {
        **_of_colours(measures),
        "focus": _or_nan(measures.focus),
        "blockiness": _or_nan(measure_blockiness(saved, is_tissue(saved, params.min_magnitude))),
        "nuclear_radius_px": mean_radius(radii) if len(radii) >= MIN_NUCLEI else np.nan,
    }


def _of_colours(measures: QualityMeasures) -> dict[str, Any]:
    colours = measures.colours
    unseen = np.full(N_STAIN_FEATURES, np.nan)
    if colours is None:
        scalars = dict.fromkeys(("tissue_fraction", "clipped", "saturation"), np.nan)
        return {**scalars, "hue_deg": np.full(2, np.nan), "stain": unseen}
    return {
        "tissue_fraction": measures.tissue_fraction,
        "clipped": colours.clipped,
        "saturation": float(np.quantile(colours.saturation, SATURATION_QUANTILE)),
        "hue_deg": np.quantile(colours.hue_deg, HUE_QUANTILES),
        "stain": unseen if colours.stain is None else colours.stain,
    }


def jpeg(pixels: UInt8Array, quality: int) -> UInt8Array:
    """Pixels as they come back from JPEG of this quality, 0–100."""
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=quality)
    with Image.open(data) as image:
        return np.asarray(image)


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def fit_reference(views: Views, stain_matrices: Float64Array) -> QualityReference:
    """Limits beyond the extremes of the views.

    Args:
        views: of the training tiles.
        stain_matrices: (T, 3, 2) after normalisation, NaN where a tile had none.

    Raises:
        DataError: something could be measured on no view.
    """
    seen = views.only(np.asarray(np.isfinite(views.stain).all(axis=1)))
    for field in fields(seen):
        if np.isnan(getattr(seen, field.name)).all():
            raise DataError(f"{field.name} can be measured on none of the training tiles in which two stains are seen.")
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
    """Largest distance of a view from the views of the other tiles; of one tile, from its own."""
    tiles = np.unique(views.tile_index)
    distances = []
    for tile in tiles:
        own = views.tile_index == tile
        centre, scale = _centre_and_scale(views.stain[~own] if len(tiles) > 1 else views.stain)
        deviations = (views.stain[own] - centre) / scale
        distances.append(np.sqrt(np.square(deviations).mean(axis=1)).max())
    return float(max(distances))
