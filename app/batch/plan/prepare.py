"""Prepare a slide: make its plan from its scale, tissue, regions, tiles, stain and quality."""

from __future__ import annotations

import math
from pathlib import Path

import shapely

from app.answer.schemas import QualityOut
from app.batch.folder import BatchManifest, BatchSlide
from app.batch.plan.grid import cores, margin, tile_edge
from app.batch.plan.inputs import nuclei_of, regions_of
from app.batch.plan.nuclei import CoreGrid, SlideNuclei, keep_nuclei
from app.batch.plan.plan import Plan, Region, StainNumbers
from app.batch.plan.regions import DrawnRegions, read_regions, union
from app.batch.plan.stain_sample import measure_stain
from app.batch.plan.tissue import Overview, overview_of, tissue_mm2
from app.batch.read.slide import Slide, SlideError, Window
from app.batch.summary import SlideInputs
from app.pipeline.bundle.load import Bundle
from app.pipeline.headers.declared_scale import MppSource, chosen_mpp
from app.pipeline.memory import memory_errors


def prepare(
    slide: Slide, inputs: SlideInputs, source: BatchSlide, batch: BatchManifest, bundle: Bundle, nuclei_at: Path
) -> tuple[Plan, Overview]:
    """Read a slide at low resolution and measure its stain, once for all its tiles.

    Args:
        slide: the open slide.
        inputs: what the plan is made from.
        source: which slide of the batch it is.
        batch: what the batch is to do.
        bundle: the bundle that analyses.
        nuclei_at: where to keep the nuclei that another program has found, if the slide has some.

    Raises:
        SlideError: the scale is not known, there is no tissue, the regions or nuclei cannot be read, or the file is
            damaged.
        InvalidNuclei: a nucleus of another program has no outline.
        UnequalAxes: the file says that its pixels are not square, and the batch gives no scale.
        MemoryError: there is too little memory.
    """
    manifest = bundle.manifest
    mpp, mpp_source = _scale(slide, batch)
    um_per_px = manifest.mpp if mpp is None else mpp
    downsample = manifest.mpp / um_per_px
    drawn = _regions(source, slide)
    regions = drawn.regions
    with memory_errors():
        overview = overview_of(slide, downsample, manifest.segmentation.stain.min_magnitude)
        area_mm2 = tissue_mm2(overview, um_per_px, regions)
        if area_mm2 == 0:
            raise SlideError(f"No tissue was found{' in its regions' if regions else ''}.")
        estimate, quality = measure_stain(slide, overview, downsample, manifest, mpp, mpp_source)
    edge = tile_edge(slide.width, slide.height, downsample)
    grid = CoreGrid(slide.width, slide.height, edge, downsample, slide.frame)
    found = nuclei_of(source)
    nuclei = None if found is None else keep_nuclei(found, nuclei_at, grid)
    plan = Plan(
        slide=source.slide,
        **inputs.model_dump(include={"file", "bytes", "fingerprint"}),
        width=slide.width,
        height=slide.height,
        frame=slide.frame,
        mpp=mpp,
        mpp_source=mpp_source,
        um_per_px=um_per_px,
        downsample=downsample,
        overview_px=overview.px,
        tissue_mm2=area_mm2,
        tile_px=edge,
        margin_px=math.ceil(margin(manifest.segmentation) * downsample),
        tiles=_tiles(overview, grid, regions, nuclei) if estimate else (),
        regions=regions,
        regions_skipped=drawn.skipped,
        nuclei=nuclei,
        stain=StainNumbers.of(estimate) if estimate else None,
        quality=QualityOut.model_validate(quality),
        inputs=inputs,
    )
    return plan, overview


def _scale(slide: Slide, batch: BatchManifest) -> tuple[float | None, MppSource]:
    """Return µm per px of level 0, and where they come from."""
    mpp, source = chosen_mpp(batch.mpp, slide.metadata.scale)
    if mpp is None and slide.width * slide.height > batch.max_pixels:
        raise SlideError("The file does not say how many µm a pixel has; say so with --mpp.")
    return mpp, source


def _regions(source: BatchSlide, slide: Slide) -> DrawnRegions:
    path = regions_of(source)
    return DrawnRegions((), ()) if path is None else read_regions(path, slide.width, slide.height)


def _tiles(
    overview: Overview, grid: CoreGrid, regions: tuple[Region, ...], nuclei: SlideNuclei | None
) -> tuple[tuple[int, int], ...]:
    """Return x, y of the cores that have tissue, or nuclei of another program; only those that touch a region."""
    area, with_nuclei = union(regions), frozenset(nuclei.cores if nuclei else ())
    shapely.prepare(area)

    def is_wanted(core: Window) -> bool:
        if not overview.touches(core) and grid.core(core.x, core.y) not in with_nuclei:
            return False
        # The middle of a cell's outline may lie a part of an analysed px beside the centroid that the core holds.
        near = core.grown(math.ceil(grid.downsample), overview.width, overview.height)
        box = shapely.box(near.x, near.y, near.x + near.width, near.y + near.height)
        return not regions or bool(area.intersects(box))

    return cores(overview.width, overview.height, grid.edge, is_wanted)
