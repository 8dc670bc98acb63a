"""Analyse one tile of a slide: find the cells that belong to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from app.batch.analyse.composition import CLASS_MAP, core_classes, core_of_map, pack_classes
from app.batch.analyse.measured import OTHERS, list_column, pack_places
from app.batch.analyse.seams import BAND_PX
from app.batch.plan.grid import core_of
from app.batch.plan.nuclei import nuclei_of_core
from app.batch.plan.plan import Plan
from app.batch.plan.regions import DECIMALS as OUTLINE_DECIMALS
from app.batch.plan.regions import middles, region_members
from app.batch.read.slide import Slide, Window
from app.pipeline.bundle.load import Bundle
from app.pipeline.crops import crop_cells
from app.pipeline.geometry import PixelMap
from app.pipeline.manifest import Manifest
from app.pipeline.measure.cells import measure_cells
from app.pipeline.measure.very_large import find_very_large
from app.pipeline.memory import memory_errors
from app.pipeline.networks.backend import Precision
from app.pipeline.networks.encode import Encoded, encode, rounded_features
from app.pipeline.nuclei.border import cut_by_more_than_half
from app.pipeline.nuclei.measure import measure, select_nuclei
from app.pipeline.nuclei.outlines import polygons
from app.pipeline.nuclei.segment import segment
from app.pipeline.presets import SegmentationParams
from app.pipeline.stain.unmix import unmix
from app.pipeline.tissue.compose import compose
from app.pipeline.types import BoolArray, Float32Array, Float64Array, Int64Array, Nuclei, Stain, UInt8Array
from app.pipeline.uploaded_nuclei.draw import Outlines, draw_outlines
from app.pipeline.uploaded_nuclei.read import min_nucleus_px

DECIMALS = 3
"""Decimals of a px that centroids keep."""
CANVAS_PX = 256
"""How far beyond a window nuclei of another program are drawn, px at the analysed scale."""
LEFT_OUT, CUT_DOWN = b"nuclei_left_out", b"nuclei_cut_down"
"""The keys in the metadata of a tile's table that say how many nuclei of another program are no cells of the tile, and
how many were cut down to the largest of their pieces."""


def analyse_tile(
    slide: Slide, plan: Plan, number: int, bundle: Bundle, precision: Precision, nuclei_at: Path
) -> pa.Table:
    """Find the cells with their centroid in the core of a tile, or so near to its edge that `seams` must decide.

    Of the nuclei of another program, those are taken that `plan.nuclei` gives to the core.

    Args:
        slide: the open slide.
        plan: the plan of the slide, which must have a stain.
        number: the number of the tile, from 0.
        bundle: the bundle that analyses.
        precision: the precision of the network that sorts the cells.
        nuclei_at: where the nuclei of another program were kept, if the plan has some.

    Returns:
        One row per cell. In px of level 0: x, y (the centroid, pixels named by their centres), area_px, and geometry
        (WKB, with the origin at the corner of the first pixel). Further columns are touches_border, outlier, the
        probability of each cluster p0 … p(K−1), depth: how far inside the core the centroid lies, in px at the analysed
        scale, negative beyond the core, members: the numbers of the cell's regions in the plan, from 0, and
        measurements: a list in the order of `MEASUREMENTS`, as the results show them, NaN where a cell has none. Those
        of its neighbours are of the tile alone; see `measured`. very_large_um is the equivalent diameter of a very
        large nucleus, in the row of its largest lobe; NaN elsewhere. If the bundle has features, so has the table. The
        metadata hold what is known of the tile as a whole.

    Raises:
        SlideError: a part of the slide is damaged.
        MemoryError: there is too little memory.
    """
    manifest = bundle.manifest
    core = core_of(*plan.tiles[number], plan.width, plan.height, plan.tile_px)
    with memory_errors():
        seen = _Seen.of(slide, plan, core, bundle, nuclei_at)
        found, to_slide = seen.found, seen.to_slide
        measurements, tissue = seen.measurements(plan), seen.tissue(slide, plan, core)
        nuclei, rows = select_nuclei(found.nuclei, found.own), np.flatnonzero(found.own)
        outlines = _outlines(nuclei, to_slide)
        members = region_members(middles(outlines), plan.regions)
        if plan.regions:
            inside = np.asarray(members.any(axis=0))
            nuclei, outlines, members = select_nuclei(nuclei, inside), outlines[inside], members[:, inside]
            rows = rows[inside]
        crops = crop_cells(seen.stains.normalised, nuclei, manifest.architecture.crops)
        encoded = encode(crops, bundle.backend, manifest.n_clusters, precision, manifest.temperature)
    centroids = to_slide.points(nuclei.centroids).round(DECIMALS)
    others = to_slide.points(found.nuclei.centroids).round(DECIMALS)[found.is_other(rows)]
    return pa.table(
        {
            "x": centroids[:, 0],
            "y": centroids[:, 1],
            "area_px": to_slide.areas(nuclei.areas_px).astype(np.float32),
            "touches_border": nuclei.touches_border & ~_is_inner(nuclei, seen.window, plan),
            "surprise": encoded.surprise,
            "outlier": encoded.surprise > manifest.outliers.threshold,
            **{f"p{k}": encoded.cluster_probs[:, k] for k in range(manifest.n_clusters)},
            "geometry": pa.array(shapely.to_wkb(outlines).tolist(), pa.binary()),
            "depth": found.depth[rows].astype(np.float32),
            "members": pa.array([np.flatnonzero(of_cell) for of_cell in members.T], pa.list_(pa.int32())),
            "measurements": list_column(measurements[rows]),
            "very_large_um": seen.very_large_um()[rows],
            **_features_column(encoded, manifest),
        },
        metadata={
            LEFT_OUT: str(found.left_out),
            CUT_DOWN: str(found.cut_down),
            OTHERS: pack_places(others),
            CLASS_MAP: pack_classes(tissue),
        },
    )


def _features_column(encoded: Encoded, manifest: Manifest) -> dict[str, pa.Array]:
    """Return the features of the cells as a column of a table; none where the bundle has none.

    They are rounded to what 16 bits can hold, as in an answer, which halves the file. The column itself is of 32 bits,
    because few programs read a shorter one.
    """
    if not manifest.n_features:
        return {}
    none = np.zeros((0, manifest.n_features), np.float32)
    features = none if encoded.features is None else encoded.features
    return {"features": list_column(rounded_features(features).astype(np.float32))}


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is seen of a slide when a tile is analysed: its core, with the margin.

    Attributes:
        window: the core and the margin, on the slide.
        pixels: (H, W, 3) uint8 RGB of the window at the analysed scale.
        stains: the same, normalised and unmixed with the stain of the slide.
        to_slide: maps the window onto the slide.
        mpp: µm per px of `pixels`.
        found: the nuclei.
    """

    window: Window
    pixels: UInt8Array
    stains: Stain
    to_slide: PixelMap
    mpp: float
    found: _Found

    @classmethod
    def of(cls, slide: Slide, plan: Plan, core: Window, bundle: Bundle, nuclei_at: Path) -> _Seen:
        """Read a core of a slide with its margin, and find the nuclei; the arguments are those of `analyse_tile`."""
        if plan.stain is None:
            raise ValueError(f"slide {plan.slide} has no stain")
        params = bundle.manifest.segmentation
        window = core.grown(plan.margin_px, plan.width, plan.height)
        given = None if plan.nuclei is None else _Given.of_core(nuclei_at, plan, core)
        if given is not None:
            window = given.window(core, plan)
        pixels = slide.read(window, plan.downsample)
        stains = unmix(pixels, params.stain, params.engine, plan.stain.estimate())
        to_slide = PixelMap.onto((window.width, window.height), pixels.shape, (window.x, window.y))
        if given is None:
            found = _sought(stains, to_slide, core, plan, bundle)
        else:
            found = given.draw(window, pixels.shape, plan, params)
        mpp = plan.um_per_px * math.sqrt(to_slide.scale.prod())
        return cls(window, pixels, stains, to_slide, mpp, found)

    def measurements(self, plan: Plan) -> Float32Array:
        """Return (N, M) float32 the measurements of all nuclei, as the results show them.

        They are measured together, because a nucleus in the margin may lie in the cytoplasm of a cell.
        """
        measured = measure_cells(self.stains, self.found.nuclei, self.mpp)
        return measured.shown(plan.mpp is not None).astype(np.float32)

    def very_large_um(self) -> Float32Array:
        """Return (N,) float32 the equivalent diameter of each very large nucleus in the place of its largest lobe."""
        diameters = np.full(len(self.found.nuclei), np.nan, np.float32)
        numbers = np.flatnonzero(~self.found.cut)
        for nucleus in find_very_large(select_nuclei(self.found.nuclei, ~self.found.cut), self.mpp):
            diameters[numbers[nucleus.members[0]]] = nucleus.diameter_um
        return diameters

    def tissue(self, slide: Slide, plan: Plan, core: Window) -> UInt8Array:
        """Return (h, w) uint8 the class map of the core; that of a slide of one tile is the map of an upload."""
        nuclei = self.found.nuclei
        if (self.window.width, self.window.height) == (plan.width, plan.height):
            return core_of_map(compose(self.pixels, self.stains, nuclei, self.mpp).classes, self.window, core)
        return core_classes(slide, plan, core, self.stains, nuclei, self.window)


@dataclass(frozen=True, slots=True)
class _Found:
    """The nuclei of a core and of its margin.

    Attributes:
        nuclei: all N of them.
        cut: (N,) bool, which of them the border of the window cuts by more than half.
        own: (N,) bool, which of them become cells of the tile, if they lie in its regions.
        depth: (N,) float64, how far inside the core they lie, in px at the analysed scale; negative beyond it.
        left_out: how many nuclei of another program are none, because they are too small, or covered by others.
        cut_down: how many nuclei of another program were in several pieces, of which the largest was kept.
    """

    nuclei: Nuclei
    cut: BoolArray
    own: BoolArray
    depth: Float64Array
    left_out: int = 0
    cut_down: int = 0

    def is_other(self, cells: Int64Array) -> BoolArray:
        """Return (N,) bool, which nuclei of the core are not among these cells."""
        others = self.depth >= 0
        others[cells] = False
        return np.asarray(others)


def _sought(stains: Stain, to_slide: PixelMap, core: Window, plan: Plan, bundle: Bundle) -> _Found:
    """Return the nuclei that the bundle finds; those in the core or near its edge become cells."""
    nuclei = segment(stains, bundle.manifest.segmentation, bundle.segmenter)
    depth = _depth(to_slide.points(nuclei.centroids).round(DECIMALS), core, plan) / plan.downsample
    cut = cut_by_more_than_half(nuclei)
    return _Found(nuclei, cut, (depth >= -BAND_PX) & ~cut, depth)


@dataclass(frozen=True, slots=True)
class _Given:
    """The nuclei of another program in a core and in those round it.

    Attributes:
        outlines: N polygons in px of level 0.
        boxes: (N, 4) float64 x0, y0, x1, y1 round them.
        own: (N,) bool, which of them belong to the core.
    """

    outlines: Outlines
    boxes: Float64Array
    own: BoolArray

    @classmethod
    def of_core(cls, path: Path, plan: Plan, core: Window) -> _Given:
        """Read the nuclei of a core from where `keep_nuclei` has kept them."""
        outlines, own = nuclei_of_core(path, plan.grid, plan.grid.core(core.x, core.y))
        return cls(outlines, outlines.boxes(), own)

    def window(self, core: Window, plan: Plan) -> Window:
        """Return the window in which every nucleus of the core is whole."""
        if not self.own.any():  # the core has tissue without nuclei, such as fat
            return core.grown(plan.margin_px, plan.width, plan.height)
        x0, y0, x1, y1 = self.boxes[self.own].T
        beyond = (core.x - x0.min(), core.y - y0.min(), x1.max() - core.x - core.width, y1.max() - core.y - core.height)
        by = max(plan.margin_px, math.ceil(max(beyond)) + math.ceil(plan.downsample))
        by += by % 2  # Every second row and column of the slide is measured, whichever tile shows it.
        return core.grown(by, plan.width, plan.height)

    def draw(self, window: Window, shape: tuple[int, ...], plan: Plan, params: SegmentationParams) -> _Found:
        """Draw the nuclei, of which the first in the file has the pixels where they overlap.

        They are drawn on a canvas that is larger than the window, because which of them is covered by which must not
        depend on where the window ends.

        Args:
            window: the result of `window`.
            shape: (H, W, …) of the analysed window.
            plan: the plan of the slide.
            params: how the bundle finds nuclei, which says how small one may be.

        Returns:
            The nuclei of the window. Those of the core have an infinite depth, because no other tile has them.
        """
        height, width = shape[:2]
        right, bottom = plan.width - window.x - window.width, plan.height - window.y - window.height
        pads = [min(CANVAS_PX, int(px / plan.downsample)) for px in (window.x, window.y, right, bottom)]
        scale = np.array([width / window.width, height / window.height])
        moved = self.outlines.moved(scale, np.array([window.x, window.y]) - pads[:2] / scale)
        canvas = (pads[1] + height + pads[3], pads[0] + width + pads[2])
        drawn = draw_outlines(moved, canvas, min_nucleus_px(params))
        of_core = self.own[drawn.numbers - 1]
        rows, columns = slice(pads[1], pads[1] + height), slice(pads[0], pads[0] + width)
        within = drawn.nuclei.label_image[rows, columns]
        seen, numbers = np.unique(within, return_inverse=True)
        # The numbers of the nuclei that the window shows, without gaps; 0 is the background, if it shows that.
        labels = numbers.reshape(within.shape) + (seen[0] > 0)
        nuclei = measure(labels.astype(np.int32))
        drawn_as = np.zeros(len(nuclei) + 1, np.int64)
        drawn_as[nuclei.label_image] = within
        depth = np.where(of_core[drawn_as[1:] - 1], np.inf, -np.inf)
        left_out, cut_down = int(self.own.sum() - of_core.sum()), int(drawn.in_pieces[of_core].sum())
        cut = cut_by_more_than_half(nuclei)
        return _Found(nuclei, cut, (depth > 0) & ~cut, depth, left_out, cut_down)


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
