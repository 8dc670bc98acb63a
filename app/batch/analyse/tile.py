"""One tile of a slide → the cells that are its own."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import shapely

from app.batch.analyse.seams import BAND_PX
from app.batch.plan.grid import core_of
from app.batch.plan.plan import Plan, StainNumbers
from app.batch.read.slide import Slide, Window
from app.pipeline.bundle.load import Bundle
from app.pipeline.crops import crop_nuclei
from app.pipeline.geometry import PixelMap
from app.pipeline.memory import memory_errors
from app.pipeline.networks.backend import Precision
from app.pipeline.networks.encode import encode
from app.pipeline.nuclei.border import drop_cut_nuclei, select_nuclei
from app.pipeline.nuclei.outlines import polygons
from app.pipeline.nuclei.segment import segment
from app.pipeline.stain.unmix import unmix
from app.pipeline.types import BoolArray, Float64Array, LabStatistics, Nuclei, StainEstimate

DECIMALS = 3
"""Of a px, that coordinates keep."""


def stain_numbers(estimate: StainEstimate) -> StainNumbers:
    """An estimate, as a plan holds it."""
    return StainNumbers(
        lab_mean=tuple(estimate.lab.mean.tolist()),
        lab_sd=tuple(estimate.lab.sd.tolist()),
        haematoxylin=tuple(estimate.stain_matrix[:, 0].tolist()),
        eosin=tuple(estimate.stain_matrix[:, 1].tolist()),
        nuclear_density=estimate.nuclear_density,
    )


def stain_estimate(numbers: StainNumbers) -> StainEstimate:
    """What a plan holds, as `unmix` takes it."""
    lab = LabStatistics(np.array(numbers.lab_mean), np.array(numbers.lab_sd))
    return StainEstimate(lab, np.column_stack([numbers.haematoxylin, numbers.eosin]), numbers.nuclear_density)


def analyse_tile(slide: Slide, plan: Plan, number: int, bundle: Bundle, precision: Precision) -> pa.Table:
    """The cells whose centre lies in a tile's core, or at its very edge, where `seams` decides.

    Args:
        slide: that the tile is of.
        plan: of the slide, with a stain.
        number: of the tile, from 0.
        bundle: what analyses.
        precision: of Q.

    Returns:
        A row a cell: x, y, area_px, touches_border, outlier, p0 … p(K−1), geometry (WKB), all in px of level 0; and
        `depth`, how far within the core its centre lies, in px at the analysed scale, negative beyond it.

    Raises:
        SlideError: a part of the slide is damaged.
        MemoryError: there is too little.
    """
    if plan.stain is None:
        raise ValueError(f"slide {plan.slide} has no stain")
    manifest = bundle.manifest
    core = core_of(*plan.tiles[number], plan.width, plan.height, plan.tile_px)
    window = core.grown(plan.margin_px, plan.width, plan.height)
    with memory_errors():
        pixels = slide.read(window, plan.downsample)
        stains = unmix(pixels, manifest.segmentation.stain, manifest.segmentation.engine, stain_estimate(plan.stain))
        nuclei = drop_cut_nuclei(segment(stains, manifest.segmentation))
        to_slide = PixelMap.onto((window.width, window.height), pixels.shape, (window.x, window.y))
        centroids = to_slide.points(nuclei.centroids).round(DECIMALS)
        depth = _depth(centroids, core, plan) / plan.downsample
        kept = (depth >= -BAND_PX) & _within(centroids, plan)
        nuclei = select_nuclei(nuclei, kept)
        encoded = encode(crop_nuclei(stains.normalised, nuclei), bundle.backend, manifest.n_clusters, precision)
    return pa.table(
        {
            "x": centroids[kept, 0],
            "y": centroids[kept, 1],
            "area_px": to_slide.areas(nuclei.areas_px).astype(np.float32),
            "touches_border": nuclei.touches_border & ~_is_inner(nuclei, window, plan),
            "outlier": encoded.surprise > manifest.outliers.threshold,
            **{f"p{k}": encoded.cluster_probs[:, k] for k in range(manifest.n_clusters)},
            "geometry": pa.array(_polygons(nuclei, to_slide), pa.binary()),
            "depth": depth[kept].astype(np.float32),
        }
    )


def _depth(centroids: Float64Array, core: Window, plan: Plan) -> Float64Array:
    """How far within a core (N, 2) centres lie, px of level 0; the slide's own border is no edge of it."""
    edges = []
    for axis, (first, size, whole) in enumerate(((core.x, core.width, plan.width), (core.y, core.height, plan.height))):
        # Pixel i is centred on i: between two cores lies the edge of a pixel.
        at = centroids[:, axis] + 0.5
        far = np.full(len(at), float(max(plan.width, plan.height)))
        edges += [at - first if first > 0 else far, first + size - at if first + size < whole else far]
    return np.asarray(np.min(edges, axis=0))


def _within(centroids: Float64Array, plan: Plan) -> BoolArray:
    """(N,) whether a centre lies in one of the regions, if there are any."""
    if not plan.regions:
        return np.ones(len(centroids), bool)
    regions = shapely.from_wkt([region.wkt for region in plan.regions])
    # Outlines of tissue may have fifty thousand corners: this is eighty times as fast.
    shapely.prepare(regions)
    return np.asarray(shapely.contains_xy(regions[:, None], centroids[:, 0], centroids[:, 1]).any(axis=0))


def _is_inner(nuclei: Nuclei, window: Window, plan: Plan) -> BoolArray:
    """(N,) whether a nucleus touches none of the window's sides that are the slide's own."""
    height, width = nuclei.label_image.shape
    x0, y0, x1, y1 = nuclei.bboxes.T
    right, bottom = window.x + window.width == plan.width, window.y + window.height == plan.height
    outer = (x0 == 0) & (window.x == 0) | (y0 == 0) & (window.y == 0)
    return np.asarray(~(outer | (x1 == width) & right | (y1 == height) & bottom))


def _polygons(nuclei: Nuclei, to_slide: PixelMap) -> list[bytes]:
    """WKB of every nucleus, with its holes."""
    outlines = [[to_slide.edges(ring).round(DECIMALS) for ring in polygon] for polygon in polygons(nuclei)]
    found: list[bytes] = shapely.to_wkb([shapely.Polygon(outer, holes) for outer, *holes in outlines]).tolist()
    return found
