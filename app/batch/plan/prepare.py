"""A slide → its plan: scale, tissue, tiles, stain and quality."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import shapely

from app.answer.schemas import QualityOut
from app.batch.analyse.tile import stain_numbers
from app.batch.folder import Run, SlideEntry
from app.batch.plan.grid import MARGIN_PX, cores, tile_edge
from app.batch.plan.plan import Plan, Region
from app.batch.plan.regions import read_regions, regions_file
from app.batch.plan.stain_sample import measure_stain
from app.batch.plan.tissue import Overview, overview
from app.batch.read.fingerprint import fingerprint
from app.batch.read.slide import Slide, SlideError, Window
from app.pipeline.bundle.load import Bundle
from app.pipeline.inputs import MPP_RANGE, is_possible_mpp
from app.pipeline.memory import memory_errors


def prepare(slide: Slide, entry: SlideEntry, run: Run, bundle: Bundle) -> tuple[Plan, Overview]:
    """Look at a slide from afar and measure its stain, once for all its tiles.

    Args:
        slide: opened.
        entry: which it is.
        run: that it is part of.
        bundle: what analyses.

    Raises:
        SlideError: its scale is not known, it has no tissue, its regions cannot be read, or a part of it is damaged.
        OSError: it cannot be read.
        MemoryError: there is too little.
    """
    manifest, path = bundle.manifest, Path(entry.path)
    mpp = _mpp(slide, run)
    um_per_px = manifest.mpp if mpp is None else mpp
    downsample = manifest.mpp / um_per_px
    regions = _regions(entry, slide)
    with memory_errors():
        seen = overview(slide, downsample, manifest.segmentation.stain.min_magnitude)
        area_mm2 = tissue_mm2(seen, um_per_px, regions)
        if area_mm2 == 0:
            raise SlideError(f"No tissue was found{' in its regions' if regions else ''}.")
        estimate, quality = measure_stain(slide, seen, downsample, manifest, mpp)
    edge = tile_edge(slide.width, slide.height, downsample)
    facts = fingerprint(path)
    plan = Plan(
        slide=entry.slide,
        file=path.name,
        bytes=facts.n_bytes,
        fingerprint=facts.sha256,
        width=slide.width,
        height=slide.height,
        mpp=mpp,
        um_per_px=um_per_px,
        downsample=downsample,
        overview_px=seen.cell_px,
        tissue_mm2=area_mm2,
        tile_px=edge,
        margin_px=math.ceil(MARGIN_PX * downsample),
        tiles=_tiles(seen, edge, regions) if estimate else (),
        regions=regions,
        stain=stain_numbers(estimate) if estimate else None,
        quality=QualityOut.model_validate(quality),
    )
    return plan, seen


def _tiles(seen: Overview, edge: int, regions: tuple[Region, ...]) -> tuple[tuple[int, int], ...]:
    """x, y of the cores that have tissue, within the regions if there are any."""
    areas = _union(regions)
    shapely.prepare(areas)

    def wanted(core: Window) -> bool:
        box = shapely.box(core.x, core.y, core.x + core.width, core.y + core.height)
        return seen.touches(core) and (not regions or bool(areas.intersects(box)))

    return cores(seen.width, seen.height, edge, wanted)


def _union(regions: tuple[Region, ...]) -> shapely.Geometry:
    return shapely.union_all(shapely.from_wkt([region.wkt for region in regions]))


def _mpp(slide: Slide, run: Run) -> float | None:
    mpp = run.mpp if slide.mpp is None else slide.mpp
    if mpp is None and slide.width * slide.height > run.max_pixels:
        raise SlideError("The file does not say how many µm a pixel has; say so with --mpp.")
    if mpp is not None and not is_possible_mpp(mpp):
        raise SlideError(f"Its pixels have {mpp:g} µm; {MPP_RANGE[0]} to {MPP_RANGE[1]} can be analysed.")
    return mpp


def _regions(entry: SlideEntry, slide: Slide) -> tuple[Region, ...]:
    if entry.regions is None:
        return ()
    path = Path(entry.regions)
    if path.is_dir():
        path = regions_file(path, entry.slide, Path(entry.path).name)
    return read_regions(path, slide.width, slide.height)


def tissue_mm2(seen: Overview, um_per_px: float, regions: tuple[Region, ...]) -> float:
    """Area of tissue of a slide, or within some regions of it.

    Args:
        seen: the slide, made small.
        um_per_px: of level 0.
        regions: none for the whole slide; what lies in several counts once.
    """
    px_mm2 = (um_per_px / 1000) ** 2
    x, y = seen.edges()
    rows, columns = np.nonzero(seen.tissue)
    areas_px = np.diff(x)[columns] * np.diff(y)[rows]
    if not regions:
        return float(areas_px.sum() * px_mm2)
    area = _union(regions)
    centres_x, centres_y = ((at[1:] + at[:-1]) / 2 for at in (x, y))
    inside = shapely.contains_xy(area, centres_x[columns], centres_y[rows])
    # Of a region that is small beside a px of the overview, more cannot be said than its own area.
    return float(min(areas_px[inside].sum(), area.area) or _small(area, seen)) * px_mm2


def _small(area: shapely.Geometry, seen: Overview) -> float:
    """Area, px of level 0, of a region that holds the centre of no px with tissue, if it lies on one that has."""
    x, y = (int(at // seen.cell_px) for at in (area.representative_point().x, area.representative_point().y))
    height, width = seen.tissue.shape
    return float(area.area) if seen.tissue[min(y, height - 1), min(x, width - 1)] else 0.0


def overview_bytes(seen: Overview) -> bytes:
    """An overview, for a file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, pixels=seen.pixels, tissue=seen.tissue, facts=[seen.cell_px, seen.width, seen.height])
    return buffer.getvalue()


def read_overview(path: Path) -> Overview:
    """The overview in a file; raises OSError where it cannot be read."""
    with np.load(path, allow_pickle=False) as arrays:
        return Overview(arrays["pixels"], arrays["tissue"], *arrays["facts"].tolist())
