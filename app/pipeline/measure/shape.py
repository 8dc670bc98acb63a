"""Size and shape of every nucleus: from its pixels, and from the convex hull of its outline."""

from __future__ import annotations

import numpy as np

from app.pipeline.measure.hulls import Hulls
from app.pipeline.measure.pixels import MIN_PIXELS, NuclearPixels
from app.pipeline.measure.stretches import Stretches
from app.pipeline.measure.table import CONCAVITY_UM, SHAPE
from app.pipeline.types import Float64Array, Int32Array, Nuclei

OF_ANY_NUCLEUS = ("area", "equivalent_diameter")
"""What means something for a nucleus of any number of pixels."""


def measure_shape(nuclei: Nuclei, pixels: NuclearPixels, outlines: list[Int32Array], mpp: float) -> Float64Array:
    """Measure the size and shape of nuclei.

    Args:
        nuclei: N nuclei.
        pixels: their pixels.
        outlines: see `nuclei.outlines.contours`.
        mpp: µm per pixel.

    Returns:
        (N, columns of SHAPE) float64; NaN for the shape of a nucleus of too few pixels or as thin as a line.
    """
    if not len(nuclei):
        return np.zeros((0, len(SHAPE)))
    area, hulls = nuclei.areas_px.astype(np.float64), Hulls(outlines)
    diameter, perimeter = 2 * np.sqrt(area / np.pi), _perimeters(pixels)
    major, minor = _axes(nuclei, pixels)
    longest, shortest = hulls.diameters()
    deepest, concavities = _concavities(*hulls.depths(), CONCAVITY_UM / mpp)
    with np.errstate(invalid="ignore"):  # a single pixel has no axes, and loses its shape below
        eccentricity = np.sqrt((1 - (minor / major) ** 2).clip(0))
    columns = {
        "area": area * mpp**2,
        "perimeter": perimeter * mpp,
        "equivalent_diameter": diameter * mpp,
        "major_axis": major * mpp,
        "minor_axis": minor * mpp,
        "feret_max": longest * mpp,
        "feret_min": shortest * mpp,
        "eccentricity": eccentricity,
        "circularity": np.minimum(4 * np.pi * area / perimeter**2, 1),
        "solidity": area / hulls.pixel_counts(),
        "lobulation": deepest / diameter,
        "concavities": concavities,
    }
    shapeless = (area < MIN_PIXELS) | hulls.is_line
    for name, column in columns.items():
        if name not in OF_ANY_NUCLEUS:
            column[shapeless] = np.nan
    return np.column_stack([columns[measurement.name] for measurement in SHAPE])


def _axes(nuclei: Nuclei, pixels: NuclearPixels) -> tuple[Float64Array, Float64Array]:
    """Return the axes of the ellipses that have the same second moments, px."""
    stretches = pixels.stretches
    y, x = np.divmod(pixels.in_tile.astype(np.int32), np.int32(nuclei.label_image.shape[1]))
    dx, dy = (at - centre[pixels.owners] for at, centre in zip((x, y), nuclei.centroids.T, strict=True))
    xx, yy = (stretches.means(d * d) for d in (dx, dy))
    xy = stretches.means(dx * dy)
    spread = np.sqrt((xx - yy) ** 2 + 4 * xy**2)
    return 4 * np.sqrt((xx + yy + spread) / 2), 4 * np.sqrt(((xx + yy - spread) / 2).clip(0))


def _perimeters(pixels: NuclearPixels) -> Float64Array:
    """Return the lengths of the outlines, px.

    By Crofton: π/4 times the sum, over four directions, of how many lines leave the nucleus times their distance.
    """
    length = np.zeros(len(pixels.stretches))
    for step, apart in ((1, 1), (pixels.down, 1), (pixels.down + 1, np.sqrt(0.5)), (pixels.down - 1, np.sqrt(0.5))):
        length += apart * pixels.stretches.sums(pixels.copies[pixels.places + step] < 0)
    return np.pi / 4 * length


def _concavities(depth: Float64Array, of_outline: Stretches, min_depth: float) -> tuple[Float64Array, Float64Array]:
    """Return (N,) the depth of the deepest concavity in px, and (N,) how many are at least as deep as `min_depth`."""
    deep = depth >= min_depth
    before = np.roll(deep, 1)
    before[of_outline.first] = deep[of_outline.first + of_outline.counts - 1]
    return of_outline.largest(depth), of_outline.sums((deep & ~before).astype(np.int64))
