"""What a run leaves: a folder of results for each slide, and the tables and pages of all together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from app.api import present
from app.api.schemas import NOTICE
from app.batch import cohort
from app.batch.assemble import (
    count,
    kept_parts,
    kept_rows,
    quality_with,
    region_members,
    region_names,
    slide_cells,
)
from app.batch.cell_table import CellTableWriter, final_table
from app.batch.cells import SlideCells
from app.batch.cohort_plot import cohort_plot
from app.batch.density import box_px, density_maps, density_png, density_tif
from app.batch.islands import island_summaries, islands
from app.batch.neighbours import nearest_um, pair_summaries
from app.batch.overview_picture import overview_jpg
from app.batch.parts import parquet_bytes
from app.batch.plan import Plan
from app.batch.prepare import read_overview, tissue_mm2
from app.batch.report import Pictures, cohort_report, slide_report
from app.batch.run_folder import Run, RunFolder, SlideEntry
from app.batch.slide import Slide, Window
from app.batch.slide_geojson import About, write_geojson
from app.batch.stain_sample import evenly
from app.batch.summary import SUMMARY, RegionSummary, SlideSummary
from app.batch.tissue import Overview
from app.files import write_whole
from app.pipeline.bundle import Bundle
from app.pipeline.manifest import Manifest
from app.pipeline.proportions import summarise
from app.pipeline.types import BoolArray, Float32Array, Int32Array, UInt8Array

CELLS, GEOJSON, OVERVIEW, DENSITY, REPORT = (
    "cells.parquet",
    "cells.geojson",
    "overview.jpg",
    "density.tif",
    "report.html",
)
VIEW_PX = 800
"""Longer edge of the picture of a slide, at least, if it has as many."""
SHOWN_CELLS = 12
"""Of each cluster, in a report."""
SHOWN_PX = 48
"""Edge of what is shown of a cell, at the analysed scale: a nucleus and what lies round it."""


def write_slide(slide: Slide, entry: SlideEntry, at: RunFolder, bundle: Bundle, run: Run) -> None:
    """Write the results of a slide whose tiles are all analysed; the summary comes last and says that it is done.

    Args:
        slide: opened, for the pictures of cells.
        entry: which it is.
        at: folder of the run.
        bundle: what analysed.
        run: that it is part of.

    Raises:
        SlideError, OSError: a file cannot be read or written.
    """
    manifest = bundle.manifest
    folder, plan, seen = at.slide(entry.slide), at.read_plan(entry.slide), read_overview(at.overview(entry.slide))
    kept = kept_rows(at, plan)
    cells = slide_cells(at, plan, kept, manifest.n_clusters)
    members = region_members(cells, plan.regions)
    nearest, numbers = nearest_um(cells, plan.um_per_px, manifest.n_clusters), islands(cells, plan.um_per_px)
    used = present.bundle_used(bundle, run.precision)
    summary = SlideSummary(
        **dict(count(cells, np.ones(len(cells), bool), plan.tissue_mm2, plan.quality, manifest)),
        **plan.model_dump(include={"slide", "file", "fingerprint", "width", "height", "mpp", "um_per_px"}),
        patient=entry.patient,
        notice=NOTICE,
        tiles=len(plan.tiles),
        quality=quality_with(plan.quality, summarise(cells.cluster_probs, cells.outlier), manifest),
        regions=[
            RegionSummary(
                name=region.name,
                **dict(count(cells, inside, tissue_mm2(seen, plan.um_per_px, (region,)), plan.quality, manifest)),
            )
            for region, inside in zip(plan.regions, members, strict=True)
        ],
        neighbours=pair_summaries(cells, nearest, plan.um_per_px, manifest.n_clusters),
        islands=island_summaries(cells, numbers, manifest.n_clusters),
        bundle=used,
        code_version=run.code_version,
    )
    tables = _tables(at, plan, kept, nearest, numbers, region_names(members, plan.regions))
    _write_cells(folder, tables, plan, summary, manifest, compress=run.gzip)
    maps = density_maps(cells, plan.width, plan.height, box_px(plan.um_per_px), plan.um_per_px, manifest.n_clusters)
    view = viewed(slide, seen)
    view_px = max(plan.width, plan.height) / max(view.shape)
    pictures = Pictures(
        overview=overview_jpg(view, seen.tissue, plan.regions, view_px),
        density=[density_png(one, view, float(maps.max(initial=0)), box_px(plan.um_per_px) / view_px) for one in maps],
        density_top=float(maps.max(initial=0)),
        cells=[shown_cells(slide, plan, cells, k) for k in range(manifest.n_clusters)],
    )
    write_whole(density_tif(maps, box_px(plan.um_per_px) * plan.um_per_px), folder / DENSITY)
    write_whole(pictures.overview, folder / OVERVIEW)
    for k, png in enumerate(pictures.density):
        write_whole(png, folder / f"density-{k}.png")
    files = [CELLS, geojson_name(run.gzip), SUMMARY, DENSITY, *(f"density-{k}.png" for k in range(len(maps)))]
    write_whole(slide_report(summary, pictures, files), folder / REPORT)
    write_whole((summary.model_dump_json(indent=2) + "\n").encode(), folder / SUMMARY)


def geojson_name(is_compressed: bool) -> str:
    """Name of the GeoJSON file."""
    return f"{GEOJSON}.gz" if is_compressed else GEOJSON


def _tables(
    at: RunFolder,
    plan: Plan,
    kept: Sequence[BoolArray],
    nearest: Float32Array,
    numbers: Int32Array,
    regions: Sequence[str | None],
) -> Iterator[pa.Table]:
    first = 0
    for part in kept_parts(at, plan, kept):
        rows = slice(first, first + len(part))
        yield final_table(part, first, nearest[rows], numbers[rows], regions[rows], plan.mpp)
        first += len(part)


def _write_cells(
    folder: Path, tables: Iterator[pa.Table], plan: Plan, summary: SlideSummary, manifest: Manifest, *, compress: bool
) -> None:
    """Write cells.parquet, and from it the GeoJSON: outlines are never all in memory."""
    bundle = summary.bundle
    about = {"notice": NOTICE, "slide": plan.slide, "fingerprint": plan.fingerprint, "bundle_sha256": bundle.sha256}
    with CellTableWriter(folder / CELLS, manifest.n_clusters, about) as writer:
        for table in tables:
            writer.write(table)
    members = summary.model_dump(
        mode="json", include={"notice", "slide", "file", "fingerprint", "width", "height", "mpp", "label", "bundle"}
    )
    source = f"{plan.fingerprint}/{bundle.sha256}/{plan.mpp}/{bundle.precision}"
    told = About(members, source, [cluster.name for cluster in summary.clusters], plan.mpp)
    with pq.ParquetFile(folder / CELLS) as file:
        groups = (file.read_row_group(i) for i in range(file.num_row_groups))
        write_geojson(folder / geojson_name(compress), told, plan.regions, groups, compress=compress)


def viewed(slide: Slide, seen: Overview) -> UInt8Array:
    """A slide as pictures show it: its overview, or a larger picture where that would be too small to see anything."""
    if max(seen.pixels.shape) >= VIEW_PX:
        return seen.pixels
    whole = Window(0, 0, slide.width, slide.height)
    return slide.read(whole, max(1.0, max(slide.width, slide.height) / VIEW_PX))


def shown_cells(slide: Slide, plan: Plan, cells: SlideCells, cluster: int) -> UInt8Array:
    """Some of a cluster's cells as they look in the slide, evenly chosen.

    Args:
        slide: opened.
        plan: of the slide.
        cells: of the slide.
        cluster: which.

    Returns:
        (n, 48, 48, 3) uint8, n ≤ 12; white beyond the slide.
    """
    edge = max(1, round(SHOWN_PX * plan.downsample))
    pictures = []
    for i in evenly(np.flatnonzero((cells.clusters == cluster) & ~cells.outlier).tolist(), SHOWN_CELLS):
        x, y = (round(at - edge / 2) for at in cells.centroids[i].tolist())
        x0, y0 = max(0, x), max(0, y)
        seen = Window(y0, x0, min(plan.width, x + edge) - x0, min(plan.height, y + edge) - y0)
        pixels = slide.read(seen, plan.downsample)[:SHOWN_PX, :SHOWN_PX]
        picture = np.full((SHOWN_PX, SHOWN_PX, 3), 255, np.uint8)
        top, left = (
            min(round((first - at) / plan.downsample), SHOWN_PX - side)
            for first, at, side in ((y0, y, pixels.shape[0]), (x0, x, pixels.shape[1]))
        )
        picture[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        pictures.append(picture)
    return np.array(pictures, np.uint8).reshape(-1, SHOWN_PX, SHOWN_PX, 3)


def write_cohort(at: RunFolder, run: Run, bundle: Bundle, failures: dict[str, str]) -> None:
    """Write the tables, the plot and index.html from the summaries of all slides that are done.

    Args:
        at: folder of the run.
        run: what was done.
        bundle: what analysed.
        failures: reasons, by id of the slides that are not.

    Raises:
        OSError: a file cannot be read or written.
    """
    n_clusters = bundle.manifest.n_clusters
    done = [entry for entry in run.slides if entry.slide not in failures]
    summaries = [SlideSummary.model_validate_json(at.summary(entry.slide).read_bytes()) for entry in done]
    failed = [
        cohort.Failure(entry.slide, Path(entry.path).name, entry.patient, failures[entry.slide])
        for entry in run.slides
        if entry.slide in failures
    ]
    slides = cohort.slides_table(summaries, failed, n_clusters)
    plot = cohort_plot(summaries, bundle.manifest.image_level.reference)
    files = {
        "slides.csv": cohort.table_csv(slides),
        "slides.parquet": parquet_bytes(slides),
        "regions.csv": cohort.table_csv(cohort.regions_table(summaries, n_clusters)),
        "failures.csv": cohort.table_csv(cohort.failures_table(failed)),
        "proportions.png": plot,
    }
    files["index.html"] = cohort_report(summaries, failed, plot, list(files))
    for name, content in files.items():
        write_whole(content, at.path / name)
