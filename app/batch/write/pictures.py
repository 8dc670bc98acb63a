"""The pictures of a slide's report: an overview with tissue and regions, a density map per cluster, and some cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import shapely

from app.answer.present import png
from app.batch.analyse.cells import SlideCells
from app.batch.plan.plan import Plan, Region
from app.batch.plan.stain_sample import evenly
from app.batch.plan.tissue import Overview
from app.batch.read.slide import Slide, Window
from app.batch.space.density import OPACITY, PALENESS, box_edge, density_png, density_top, map_png, mean_limits
from app.batch.space.novelty import NoveltyMap
from app.pipeline.measure.table import INDEX, MEASUREMENTS, Measurement
from app.pipeline.tissue.classes import BACKGROUND, CLASS_COLORS, CLASSES
from app.pipeline.tissue.classes import picture as class_picture
from app.pipeline.types import BoolArray, Float32Array, UInt8Array

VIEW_PX = 800
"""The longer edge of the picture of a slide is at least this, unless the slide itself is smaller."""
SHOWN_CELLS = 12
"""The largest number of cells of each cluster in a report."""
SHOWN_PX = 48
"""The edge of the picture of a cell, at the analysed scale: a nucleus and its surroundings."""
SHOWN_LARGE = 24
"""The largest number of very large nuclei in a report."""
LARGE_PX = 192
"""The edge of the picture of a very large nucleus, at the analysed scale: 48 µm at 0.25 µm per px."""
TISSUE_COLOR, REGION_COLOR = (93, 47, 142), (213, 94, 0)
"""RGB: the accent colour of the page, and a colour that stands out from H&E."""
JPEG_QUALITY = 85
BRIGHTEST_NOVELTY = 2.0
"""The novelty with the brightest colour; that of the limit, 1, is in the middle."""
GREY_STEP = 32
"""Step of the greys of the slide under its tissue."""
LEGEND_PX = 24
"""The height of a line of a legend."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of a slide's report.

    Attributes:
        overview: a JPEG of the slide.
        density: for each of K clusters a PNG.
        density_top: the density of the brightest colour in all of them, in cells per mm².
        cells: for each of K clusters some cells, (n, h, w, 3) uint8.
        tissue: a PNG of what the tissue consists of, with a legend; None if that is not known.
        large: a JPEG of each of the largest of the very large nuclei.
        large_um: the edge of these pictures, µm.
        mean: the mean of the measurement that was asked for; None if none was.
        novelty: a PNG of where the slide is unlike the training tiles; None if nothing could be compared.
    """

    overview: bytes
    density: Sequence[bytes]
    density_top: float
    cells: Sequence[UInt8Array]
    tissue: bytes | None = None
    large: Sequence[bytes] = ()
    large_um: float = 0.0
    mean: MeanPicture | None = None
    novelty: bytes | None = None


@dataclass(frozen=True, slots=True)
class MeanPicture:
    """The mean of a measurement over a slide.

    Attributes:
        png: the picture.
        limits: the means of its darkest and of its brightest colour.
        measurement: what was measured.
        scale_known: whether the scale of the slide is known, on which the unit depends.
    """

    png: bytes
    limits: tuple[float, float]
    measurement: Measurement
    scale_known: bool


def slide_pictures(
    slide: Slide,
    plan: Plan,
    overview: Overview,
    cells: SlideCells,
    maps: Float32Array,
    means: Float32Array | None = None,
    classes: UInt8Array | None = None,
    novelty: NoveltyMap | None = None,
) -> Pictures:
    """Make the pictures of a slide's report.

    Args:
        slide: the open slide.
        plan: its plan.
        overview: its overview.
        cells: its cells.
        maps: (K, h, w) float32, the result of `density_maps`.
        means: (h, w) float32, the result of `mean_map` for the measurement that the plan names.
        classes: (h, w) uint8, the class map of the slide; None if its tissue is not known.
        novelty: the result of `novelty_map`.

    Raises:
        SlideError: a part of the slide is damaged.
    """
    view, view_px = view_of(slide, overview)
    top = density_top(maps)
    px_per_box = box_edge(plan.um_per_px) / view_px
    return Pictures(
        overview=overview_jpg(view, overview.tissue, plan.regions, view_px),
        density=[density_png(one, view, top, px_per_box) for one in maps],
        density_top=top,
        cells=[cell_pictures(slide, plan, cells, k) for k in range(len(maps))],
        tissue=None if classes is None else tissue_png(classes, view),
        large=nucleus_pictures(slide, plan, cells, largest(cells)),
        large_um=LARGE_PX * plan.downsample * plan.um_per_px,
        mean=None if means is None else _mean_picture(plan, means, view, px_per_box),
        novelty=None if novelty is None else _novelty_picture(novelty, view, view_px),
    )


def _mean_picture(plan: Plan, means: Float32Array, view: UInt8Array, px_per_box: float) -> MeanPicture:
    limits, scale_known = mean_limits(means), plan.mpp is not None
    png = map_png(means, view, limits, px_per_box)
    return MeanPicture(png, limits, MEASUREMENTS[INDEX[plan.inputs.map or ""]], scale_known)


def _novelty_picture(novelty: NoveltyMap, view: UInt8Array, view_px: float) -> bytes:
    return map_png(novelty.values, view, (0.0, BRIGHTEST_NOVELTY), novelty.square_px / view_px)


def view_of(slide: Slide, overview: Overview) -> tuple[UInt8Array, float]:
    """Return the overview, or a larger picture of the slide if the overview is too small to show anything.

    Args:
        slide: the open slide.
        overview: its overview.

    Returns:
        (h, w, 3) uint8 RGB, and the edge of one of its px, in px of level 0.

    Raises:
        SlideError: a part of the slide is damaged.
    """
    if max(overview.pixels.shape) >= VIEW_PX:
        return overview.pixels, float(overview.px)
    view_px = max(1.0, max(slide.width, slide.height) / VIEW_PX)
    return slide.read(Window(0, 0, slide.width, slide.height), view_px), view_px


def tissue_png(classes: UInt8Array, view: UInt8Array) -> bytes:
    """Draw a class map over the pale slide, with a legend below it, so that the picture needs no page.

    Args:
        classes: (h, w) uint8 of the whole slide, places in CLASSES.
        view: (H, W, 3) uint8 RGB of the whole slide.

    Returns:
        A PNG. Where there is no tissue, it shows the slide alone.
    """
    height, width = view.shape[:2]
    fitted = np.asarray(cv2.resize(classes, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
    # With few greys, the file is a third as large.
    grey = (cv2.cvtColor(view, cv2.COLOR_RGB2GRAY) // GREY_STEP * GREY_STEP + GREY_STEP / 2)[..., None]
    shown = np.repeat(255 - PALENESS * (255 - grey), 3, axis=2)
    coloured = fitted != BACKGROUND
    shown[coloured] = OPACITY * class_picture(fitted)[coloured] + (1 - OPACITY) * shown[coloured]
    return png(np.concatenate([np.rint(shown).astype(np.uint8), _legend(width)]))


def _legend(width: int) -> UInt8Array:
    """Return (h, width, 3) uint8, a line for each kind of tissue with its colour."""
    kinds = [(name, color) for name, color in CLASS_COLORS.items() if name != CLASSES[BACKGROUND]]
    legend = np.full((LEGEND_PX * len(kinds) + LEGEND_PX // 2, width, 3), 255, np.uint8)
    for i, (name, color) in enumerate(kinds):
        y = LEGEND_PX * i + LEGEND_PX // 4
        legend[y : y + LEGEND_PX - 6, 4 : LEGEND_PX + 4] = color
        place = (LEGEND_PX + 12, y + LEGEND_PX - 10)
        cv2.putText(legend, name.replace("_", " "), place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return legend


def overview_jpg(pixels: UInt8Array, tissue: BoolArray, regions: Sequence[Region], downsample: float) -> bytes:
    """Draw the outlines of tissue and regions on the slide, with the number of each region, from 1.

    Args:
        pixels: (H, W, 3) uint8 RGB of the whole slide.
        tissue: (h, w) bool of the whole slide, at any scale.
        regions: the regions of the plan.
        downsample: px of level 0 per px of `pixels`.

    Returns:
        A JPEG of W x H px.
    """
    height, width = pixels.shape[:2]
    line = max(1, round(max(width, height) / 500))
    drawn = np.ascontiguousarray(pixels[:, :, ::-1])
    mask = cv2.resize(tissue.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    outlines = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)[0]
    cv2.drawContours(drawn, outlines, -1, TISSUE_COLOR[::-1], line)
    for number, region in enumerate(regions, start=1):
        _draw_region(drawn, shapely.from_wkt(region.wkt), str(number), downsample, line)
    return _jpg(drawn)


def cell_pictures(slide: Slide, plan: Plan, cells: SlideCells, cluster: int) -> UInt8Array:
    """Cut some cells of a cluster out of the slide, evenly chosen from all of them.

    Args:
        slide: the open slide.
        plan: its plan.
        cells: its cells.
        cluster: the number of the cluster.

    Returns:
        (n, 48, 48, 3) uint8 with n ≤ 12; beyond the border of the slide it is white.
    """
    of_cluster = np.flatnonzero((cells.clusters == cluster) & ~cells.outlier).tolist()
    pictures = [_cut_out(slide, plan, *cells.centroids[i].tolist()) for i in evenly(of_cluster, SHOWN_CELLS)]
    return np.array(pictures, np.uint8).reshape(-1, SHOWN_PX, SHOWN_PX, 3)


def largest(cells: SlideCells) -> list[int]:
    """Return the ids of the largest of the very large nuclei, at most SHOWN_LARGE, the largest first."""
    found = np.flatnonzero(np.isfinite(cells.very_large_um))
    ids: list[int] = found[np.argsort(-cells.very_large_um[found], kind="stable")][:SHOWN_LARGE].tolist()
    return ids


def nucleus_pictures(slide: Slide, plan: Plan, cells: SlideCells, ids: Sequence[int]) -> list[bytes]:
    """Cut some very large nuclei out of the slide, all at one scale so that they can be compared.

    Args:
        slide: the open slide.
        plan: its plan.
        cells: its cells.
        ids: which of them.

    Returns:
        A JPEG of 192 x 192 px for each; beyond the border of the slide it is white.
    """
    pictures = [_cut_out(slide, plan, x, y, LARGE_PX) for x, y in cells.centroids[ids].tolist()]
    return [_jpg(np.ascontiguousarray(picture[..., ::-1])) for picture in pictures]


def _jpg(bgr: UInt8Array) -> bytes:
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def _draw_region(drawn: UInt8Array, area: shapely.Geometry, text: str, downsample: float, line: int) -> None:
    for polygon in shapely.get_parts(area):
        rings = [
            np.rint(shapely.get_coordinates(ring) / downsample).astype(np.int32) for ring in shapely.get_rings(polygon)
        ]
        cv2.polylines(drawn, rings, True, REGION_COLOR[::-1], 2 * line, cv2.LINE_AA)
    place = np.rint(shapely.get_coordinates(shapely.point_on_surface(area))[0] / downsample).astype(int)
    for color, thickness in (((255, 255, 255), 6 * line), (REGION_COLOR[::-1], 2 * line)):
        cv2.putText(
            drawn, text, place.tolist(), cv2.FONT_HERSHEY_SIMPLEX, 0.5 + 0.5 * line, color, thickness, cv2.LINE_AA
        )


def _cut_out(slide: Slide, plan: Plan, x: float, y: float, shown_px: int = SHOWN_PX) -> UInt8Array:
    """Return (shown_px, shown_px, 3) uint8 round a place of the slide."""
    edge = max(1, round(shown_px * plan.downsample))
    left, top = round(x - edge / 2), round(y - edge / 2)
    x0, y0 = max(0, left), max(0, top)
    window = Window(y0, x0, min(plan.width, left + edge) - x0, min(plan.height, top + edge) - y0)
    pixels = slide.read(window, plan.downsample)[:shown_px, :shown_px]
    height, width = pixels.shape[:2]
    row = min(round((y0 - top) / plan.downsample), shown_px - height)
    column = min(round((x0 - left) / plan.downsample), shown_px - width)
    picture = np.full((shown_px, shown_px, 3), 255, np.uint8)
    picture[row : row + height, column : column + width] = pixels
    return picture
