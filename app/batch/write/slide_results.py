"""What a run leaves of a slide: its cells, its summary, and the pictures and the page made from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from app.answer import present
from app.answer.schemas import NOTICE
from app.batch.analyse.assemble import (
    count,
    kept_parts,
    kept_rows,
    quality_with,
    region_members,
    region_names,
    slide_cells,
)
from app.batch.analyse.cells import SlideCells
from app.batch.folder import Run, RunFolder, SlideEntry
from app.batch.plan.plan import Plan
from app.batch.plan.prepare import read_overview, tissue_mm2
from app.batch.plan.tissue import Overview
from app.batch.read.slide import Slide
from app.batch.space.density import box_px, density_maps, density_tif
from app.batch.space.islands import island_summaries, islands
from app.batch.space.neighbours import nearest_um, pair_summaries
from app.batch.summary import SUMMARY, RegionSummary, SlideSummary
from app.batch.write.cell_table import CellTableWriter, final_table
from app.batch.write.report import slide_report
from app.batch.write.slide_pictures import slide_pictures
from app.files import write_whole
from app.pipeline.bundle.load import Bundle
from app.pipeline.proportions import summarise
from app.pipeline.types import BoolArray, Float32Array, Int32Array

CELLS, OVERVIEW, DENSITY, REPORT = "cells.parquet", "overview.jpg", "density.tif", "report.html"


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of the cells of a slide, once all of them are together.

    Attributes:
        cells: all N of them.
        kept: which rows of each tile's part they are.
        members: (R, N) bool, which are in which region.
        nearest: (N, K) float32 µm, to the nearest cell of each cluster.
        islands: (N,) int32, −1: in none.
    """

    cells: SlideCells
    kept: Sequence[BoolArray]
    members: BoolArray
    nearest: Float32Array
    islands: Int32Array


def write_slide(slide: Slide, entry: SlideEntry, at: RunFolder, bundle: Bundle, run: Run) -> None:
    """Write the results of a slide whose tiles are all analysed, but for its GeoJSON; the summary comes last.

    Args:
        slide: opened, for the pictures of cells.
        entry: which it is.
        at: folder of the run.
        bundle: what analysed.
        run: that it is part of.

    Raises:
        SlideError, OSError: a file cannot be read or written.
    """
    n_clusters = bundle.manifest.n_clusters
    folder, plan, seen = at.slide(entry.slide), at.read_plan(entry.slide), read_overview(at.overview(entry.slide))
    known = _known(at, plan, n_clusters)
    summary = _summary(known, plan, seen, entry, run, bundle)
    _write_cells(folder, _tables(at, plan, known), plan, summary)
    edge = box_px(plan.um_per_px)
    maps = density_maps(known.cells, plan.width, plan.height, edge, plan.um_per_px, n_clusters)
    pictures = slide_pictures(slide, plan, seen, known.cells, maps)
    densities = {f"density-{k}.png": png for k, png in enumerate(pictures.density)}
    files = {DENSITY: density_tif(maps, edge * plan.um_per_px), OVERVIEW: pictures.overview, **densities}
    files[REPORT] = slide_report(
        summary, pictures, [CELLS, at.geojson(entry.slide, run).name, SUMMARY, DENSITY, *densities]
    )
    files[SUMMARY] = (summary.model_dump_json(indent=2) + "\n").encode()
    for name, content in files.items():
        write_whole(content, folder / name)


def _known(at: RunFolder, plan: Plan, n_clusters: int) -> _Known:
    kept = kept_rows(at, plan)
    cells = slide_cells(at, plan, kept, n_clusters)
    return _Known(
        cells=cells,
        kept=kept,
        members=region_members(cells, plan.regions),
        nearest=nearest_um(cells, plan.um_per_px, n_clusters),
        islands=islands(cells, plan.um_per_px),
    )


def _summary(known: _Known, plan: Plan, seen: Overview, entry: SlideEntry, run: Run, bundle: Bundle) -> SlideSummary:
    manifest, cells = bundle.manifest, known.cells
    every = np.ones(len(cells), bool)
    return SlideSummary(
        **dict(count(cells, every, plan.tissue_mm2, plan.quality, manifest)),
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
            for region, inside in zip(plan.regions, known.members, strict=True)
        ],
        neighbours=pair_summaries(cells, known.nearest, plan.um_per_px, manifest.n_clusters),
        islands=island_summaries(cells, known.islands, manifest.n_clusters),
        bundle=present.bundle_used(bundle, run.precision),
        code_version=run.code_version,
    )


def _tables(at: RunFolder, plan: Plan, known: _Known) -> Iterator[pa.Table]:
    """The rows of cells.parquet, one tile's at a time: outlines are never all in memory."""
    regions = region_names(known.members, plan.regions)
    first = 0
    for part in kept_parts(at, plan, known.kept):
        rows = slice(first, first + len(part))
        yield final_table(part, first, known.nearest[rows], known.islands[rows], regions[rows], plan.mpp)
        first += len(part)


def _write_cells(folder: Path, tables: Iterator[pa.Table], plan: Plan, summary: SlideSummary) -> None:
    sha256 = summary.bundle.sha256
    about = {"notice": NOTICE, "slide": plan.slide, "fingerprint": plan.fingerprint, "bundle_sha256": sha256}
    with CellTableWriter(folder / CELLS, len(summary.clusters), about) as writer:
        for table in tables:
            writer.write(table)
