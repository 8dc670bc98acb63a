"""Analyse one tile of a slide: find the cells that belong to it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from app.batch.analyse.seams import BAND_PX
from app.batch.plan.grid import core_of
from app.batch.plan.plan import Plan
from app.batch.plan.regions import DECIMALS as OUTLINE_DECIMALS
from app.batch.plan.regions import middles, region_members
from app.batch.read.slide import Slide, Window
from app.pipeline.bundle.load import Bundle
from app.pipeline.crops import crop_nuclei
from app.pipeline.geometry import PixelMap
from app.pipeline.memory import memory_errors
from app.pipeline.networks.backend import Precision
from app.pipeline.networks.encode import encode
from app.pipeline.nuclei.border import drop_cut_nuclei
from app.pipeline.nuclei.measure import select_nuclei
from app.pipeline.nuclei.outlines import polygons
from app.pipeline.nuclei.segment import segment
from app.pipeline.stain.unmix import unmix
from app.pipeline.types import BoolArray, Float64Array, Nuclei

DECIMALS = 3
"""Decimals of a px that centroids keep."""


def analyse_tile(slide: Slide, plan: Plan, number: int, bundle: Bundle, precision: Precision) -> pa.Table:
    """Find the cells with their centroid in the core of a tile, or so near to its edge that `seams` must decide.

    Args:
        slide: the open slide.
        plan: the plan of the slide, which must have a stain.
        number: the number of the tile, from 0.
        bundle: the bundle that analyses.
        precision: the precision of the network that sorts the cells.

    Returns:
        One row per cell. In px of level 0: x, y (the centroid, pixels named by their centres), area_px, and geometry
        (WKB, with the origin at the corner of the first pixel). Further columns are touches_border, outlier, the
        probability of each cluster p0 … p(K−1), depth: how far inside the core the centroid lies, in px at the analysed
        scale, negative beyond the core, and members: the numbers of the cell's regions in the plan, from 0.

    Raises:
        SlideError: a part of the slide is damaged.
        MemoryError: there is too little memory.
    """
    if plan.stain is None:
        raise ValueError(f"slide {plan.slide} has no stain")
    manifest = bundle.manifest
    core = core_of(*plan.tiles[number], plan.width, plan.height, plan.tile_px)
    window = core.grown(plan.margin_px, plan.width, plan.height)
    with memory_errors():
        pixels = slide.read(window, plan.downsample)
        stains = unmix(pixels, manifest.segmentation.stain, manifest.segmentation.engine, plan.stain.estimate())
        nuclei = drop_cut_nuclei(segment(stains, manifest.segmentation, bundle.segmenter))
        to_slide = PixelMap.onto((window.width, window.height), pixels.shape, (window.x, window.y))
        centroids = to_slide.points(nuclei.centroids).round(DECIMALS)
        depth = _depth(centroids, core, plan) / plan.downsample
        kept = depth >= -BAND_PX
        nuclei = select_nuclei(nuclei, kept)
        outlines = _outlines(nuclei, to_slide)
        members = region_members(middles(outlines), plan.regions)
        if plan.regions:
            inside = np.asarray(members.any(axis=0))
            nuclei, outlines, members = select_nuclei(nuclei, inside), outlines[inside], members[:, inside]
            kept[kept] = inside
        crops = crop_nuclei(stains.normalised, nuclei)
        encoded = encode(crops, bundle.backend, manifest.n_clusters, precision, manifest.temperature)
    return pa.table(
        {
            "x": centroids[kept, 0],
            "y": centroids[kept, 1],
            "area_px": to_slide.areas(nuclei.areas_px).astype(np.float32),
            "touches_border": nuclei.touches_border & ~_is_inner(nuclei, window, plan),
            "surprise": encoded.surprise,
            "outlier": encoded.surprise > manifest.outliers.threshold,
            **{f"p{k}": encoded.cluster_probs[:, k] for k in range(manifest.n_clusters)},
            "geometry": pa.array(shapely.to_wkb(outlines).tolist(), pa.binary()),
            "depth": depth[kept].astype(np.float32),
            "members": pa.array([np.flatnonzero(of_cell) for of_cell in members.T], pa.list_(pa.int32())),
        }
    )


def _depth(centroids: Float64Array, core: Window, plan: Plan) -> Float64Array:
    """Return how far inside a core (N, 2) centroids lie, in px of level 0; the border of the slide is not an edge."""
    distances = []
    for axis, (first, size, whole) in enumerate(((core.x, core.width, plan.width), (core.y, core.height, plan.height))):
        # A centroid names a pixel by its centre, and the edge between two cores is the edge of a pixel.
        at = centroids[:, axis] + 0.5
        far = np.full(len(at), float(max(plan.width, plan.height)))
        distances += [at - first if first > 0 else far, first + size - at if first + size < whole else far]
    return np.asarray(np.min(distances, axis=0))


def _is_inner(nuclei: Nuclei, window: Window, plan: Plan) -> BoolArray:
    """(N,) bool, whether a nucleus touches no side of the window that is also the border of the slide."""
    height, width = nuclei.label_image.shape
    x0, y0, x1, y1 = nuclei.bboxes.T
    right, bottom = window.x + window.width == plan.width, window.y + window.height == plan.height
    outer = (x0 == 0) & (window.x == 0) | (y0 == 0) & (window.y == 0)
    return np.asarray(~(outer | (x1 == width) & right | (y1 == height) & bottom))


def _outlines(nuclei: Nuclei, to_slide: PixelMap) -> npt.NDArray[np.object_]:
    """Return (N,) polygons with their holes, one for each nucleus, as they are written."""
    rings = [[to_slide.edges(ring).round(OUTLINE_DECIMALS) for ring in polygon] for polygon in polygons(nuclei)]
    return np.array([shapely.Polygon(outer, holes) for outer, *holes in rings], object)
