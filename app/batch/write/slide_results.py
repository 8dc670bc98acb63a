"""The results of a slide, apart from its GeoJSON: its table of cells, its summary, and its pictures and report."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from app.answer import present
from app.answer.cell_types import type_table
from app.answer.schemas import NOTICE
from app.batch.analyse.cells import (
    SlideCells,
    count,
    kept_cells,
    kept_members,
    kept_rows,
    quality_with,
    slide_cells,
    upload_flags_of,
)
from app.batch.analyse.composition import SlideTissue, slide_tissue
from app.batch.folder import BatchFolder, BatchManifest, BatchSlide
from app.batch.plan.inputs import SlideChanged
from app.batch.plan.plan import Plan, read_plan
from app.batch.plan.regions import region_names
from app.batch.plan.tissue import Overview, read_overview, tissue_mm2
from app.batch.read.slide import Slide
from app.batch.space.density import box_edge, density_maps, density_tif, map_tif, mean_map
from app.batch.space.islands import island_summaries, islands
from app.batch.space.neighbours import nearest_um, pair_summaries
from app.batch.space.novelty import NoveltyMap, novelty_map
from app.batch.summary import (
    SUMMARY,
    NoveltySummary,
    RegionSummary,
    SlideInputs,
    SlideSummary,
    read_summary,
    write_summary,
)
from app.batch.write.cell_table import CellTableWriter, final_table, table_schema
from app.batch.write.exchange import write_exchanged
from app.batch.write.pictures import Pictures, slide_pictures
from app.batch.write.report import slide_report
from app.files import write_whole
from app.pipeline.bundle.load import Bundle
from app.pipeline.manifest import Manifest
from app.pipeline.measure.table import INDEX
from app.pipeline.types import BoolArray, Float32Array, Int32Array

CELLS, OVERVIEW, DENSITY, REPORT = "cells.parquet", "overview.jpg", "density.tif", "report.html"
TISSUE, NOVELTY = "tissue.png", "novelty"


@dataclass(frozen=True, slots=True)
class _Measured:
    """The cells of a slide, and what was measured on them.

    Attributes:
        cells: all N cells.
        kept: for each tile, which rows of its table they are.
        members: (R, N) bool, which cells lie in which region.
        nearest: (N, K) float32 µm to the nearest cell of each cluster.
        islands: (N,) int32, the number of a cell's island; −1 for none.
        tissue: what the tissue of the slide consists of; None if that is not known.
        novelty: where the slide is unlike the training tiles; None if the bundle knows nothing to compare with.
    """

    cells: SlideCells
    kept: Sequence[BoolArray]
    members: BoolArray
    nearest: Float32Array
    islands: Int32Array
    tissue: SlideTissue | None
    novelty: NoveltyMap | None


def write_slide(slide: Slide, source: BatchSlide, folder: BatchFolder, bundle: Bundle, batch: BatchManifest) -> None:
    """Write the results of a slide from the tables of its tiles, all of which must exist.

    The summary is written last, as a draft: `publish_summary` puts it beside the other results.

    Args:
        slide: the open slide, for the pictures.
        source: which slide of the batch it is.
        folder: the folder of the batch.
        bundle: the bundle that analysed the slide.
        batch: what the batch is to do.

    Raises:
        SlideError: a part of the slide is damaged.
        SlideChanged: a tile was made from other inputs than the plan.
        OSError: a file cannot be read or written.
    """
    n_clusters, results = bundle.manifest.n_clusters, folder.results(source.slide)
    plan, overview = read_plan(folder.plan(source.slide)), read_overview(folder.overview(source.slide))
    measured = _measure(folder, plan, bundle.manifest)
    summary = _summary(measured, plan, overview, source, batch, bundle)
    flags = [*summary.quality.flags, *upload_flags_of(folder, plan)]
    summary = summary.model_copy(update={"quality": summary.quality.model_copy(update={"flags": flags})})
    manifest = bundle.manifest
    with_types = manifest.cell_classifier is not None
    schema = table_schema(n_clusters, plan.mpp is not None, manifest.n_features, with_types=with_types)
    with CellTableWriter(results / CELLS, schema, _about(plan, summary)) as writer:
        for table in _tables(folder, plan, measured, manifest):
            writer.write(table)
    files, pictures = _maps(slide, plan, overview, measured, n_clusters)
    exchanged = write_exchanged(results / CELLS, slide, source, summary, overview, batch, manifest)
    links = [CELLS, *exchanged, folder.geojson(source.slide, batch).name, SUMMARY, *files]
    files |= {OVERVIEW: pictures.overview, REPORT: slide_report(summary, pictures, links)}
    for name, content in files.items():
        write_whole(content, results / name)
    lengths = {name: (results / name).stat().st_size for name in (CELLS, *exchanged)}
    lengths |= {name: len(content) for name, content in files.items()}
    write_summary(summary.model_copy(update={"files": lengths}), folder.draft(source.slide))


def _maps(
    slide: Slide, plan: Plan, overview: Overview, measured: _Measured, n_clusters: int
) -> tuple[dict[str, bytes], Pictures]:
    """Return the files with the maps of a slide, by name, and all pictures of its report."""
    cells, tissue = measured.cells, measured.tissue
    box_px = box_edge(plan.um_per_px)
    box_um = box_px * plan.um_per_px
    maps = density_maps(cells, plan.width, plan.height, box_px, plan.um_per_px, n_clusters)
    means = None
    if plan.inputs.map is not None:
        means = mean_map(cells, cells.measurements[:, INDEX[plan.inputs.map]], plan.width, plan.height, box_px)
    classes, novelty = tissue.classes if tissue else None, measured.novelty
    pictures = slide_pictures(slide, plan, overview, cells, maps, means, classes, novelty)
    files = {DENSITY: density_tif(maps, box_um)}
    files |= {f"density-{k}.png": png for k, png in enumerate(pictures.density)}
    if pictures.tissue is not None:
        files[TISSUE] = pictures.tissue
    if novelty is not None and pictures.novelty is not None:
        what = "novelty: above 1 is unlike the training tiles"
        files[f"{NOVELTY}.tif"] = map_tif({what: novelty.values}, novelty.square_px * plan.um_per_px)
        files[f"{NOVELTY}.png"] = pictures.novelty
    if means is not None and pictures.mean is not None:
        column = pictures.mean.measurement.column(pictures.mean.scale_known)
        files[f"map-{plan.inputs.map}.tif"] = map_tif({f"mean {column}": means}, box_um)
        files[f"map-{plan.inputs.map}.png"] = pictures.mean.png
    return files, pictures


def publish_summary(folder: BatchFolder, inputs: SlideInputs, batch: BatchManifest) -> None:
    """Write the summary of a slide beside its other results, all of which must exist: they are then complete.

    Args:
        folder: the folder of the batch.
        inputs: what the slide is now; its results must have been made from it.
        batch: what the batch is to do.

    Raises:
        SlideChanged: the results were made from other inputs.
        OSError: a file of results is missing or cut off, or cannot be read or written.
        ValueError: the draft of the summary is damaged.
    """
    summary, geojson = read_summary(folder.draft(inputs.slide)), folder.geojson(inputs.slide, batch)
    if summary.inputs != inputs:
        raise SlideChanged
    for name, length in summary.files.items():
        path = folder.results(inputs.slide) / name
        if path.stat().st_size != length:  # A network disk that is full may say so too late.
            raise OSError(errno.EIO, f"Only {path.stat().st_size} of {length} bytes were kept", str(path))
    files = dict(sorted({**summary.files, geojson.name: geojson.stat().st_size}.items()))
    write_summary(summary.model_copy(update={"files": files}), folder.summary(inputs.slide))


def _measure(folder: BatchFolder, plan: Plan, manifest: Manifest) -> _Measured:
    kept = kept_rows(folder, plan)
    cells = slide_cells(folder, plan, kept, manifest)
    return _Measured(
        cells=cells,
        kept=kept,
        members=kept_members(folder, plan, kept),
        nearest=nearest_um(cells, plan.um_per_px, manifest.n_clusters),
        islands=islands(cells, plan.um_per_px),
        tissue=slide_tissue(folder, plan),
        novelty=novelty_map(cells, manifest, plan.width, plan.height, plan.um_per_px),
    )


def _summary(
    measured: _Measured, plan: Plan, overview: Overview, source: BatchSlide, batch: BatchManifest, bundle: Bundle
) -> SlideSummary:
    manifest, cells = bundle.manifest, measured.cells
    every, whole = np.ones(len(cells), bool), measured.tissue.whole if measured.tissue else None
    return SlideSummary(
        **dict(count(cells, every, plan.tissue_mm2, whole, plan.quality, manifest, scale_known=plan.mpp is not None)),
        **plan.model_dump(
            include={"slide", "file", "fingerprint", "width", "height", "frame", "mpp", "mpp_source", "um_per_px"}
        ),
        patient=source.patient,
        notice=NOTICE,
        tiles=len(plan.tiles),
        quality=quality_with(plan.quality, cells, every, manifest),
        novelty=measured.novelty
        and NoveltySummary(
            squares=measured.novelty.judged,
            unlike=measured.novelty.unlike,
            square_um=measured.novelty.square_px * plan.um_per_px,
        ),
        regions=list(_region_summaries(measured, plan, overview, manifest)),
        regions_skipped=list(plan.regions_skipped),
        types_warning=manifest.cell_classifier.validation.warning if manifest.cell_classifier else None,
        neighbours=pair_summaries(cells, measured.nearest, plan.um_per_px, manifest.n_clusters),
        islands=island_summaries(cells, measured.islands, manifest.n_clusters),
        segmentation=present.segmentation_out(plan.upload or manifest.own_segmentation),
        bundle=present.bundle_used(bundle, batch.precision),
        code_version=batch.code_version,
        inputs=plan.inputs,
        files={},
    )


def _region_summaries(
    measured: _Measured, plan: Plan, overview: Overview, manifest: Manifest
) -> Iterator[RegionSummary]:
    # What sets the clusters apart is the same in every region.
    undescribed = manifest.model_copy(update={"descriptions": None})
    for i, region in enumerate(plan.regions):
        area_mm2 = tissue_mm2(overview, plan.um_per_px, (region,))
        tissue = measured.tissue.regions[i] if measured.tissue else None
        members, scale_known = measured.members[i], plan.mpp is not None
        counted = count(measured.cells, members, area_mm2, tissue, plan.quality, undescribed, scale_known=scale_known)
        yield RegionSummary(name=region.name, **dict(counted))


def _about(plan: Plan, summary: SlideSummary) -> dict[str, str]:
    """Return what the metadata of cells.parquet say about its origin."""
    return {
        "notice": NOTICE,
        "slide": plan.slide,
        "fingerprint": plan.fingerprint,
        "segmentation_source": summary.segmentation.source,
        "segmentation_method": summary.segmentation.method,
        "segmentation_version": summary.segmentation.version or "",
        "bundle_sha256": summary.bundle.sha256,
        "frame": plan.frame.name,
        "frame_x": str(plan.frame.x),
        "frame_y": str(plan.frame.y),
        "inputs_sha256": plan.inputs.sha256,
    }


def _tables(folder: BatchFolder, plan: Plan, measured: _Measured, manifest: Manifest) -> Iterator[pa.Table]:
    """Yield the rows of cells.parquet, one tile at a time, so that all outlines are never in memory at once."""
    regions = region_names(measured.members, plan.regions)
    types = type_table(measured.cells.types, manifest)
    first = 0
    for table in kept_cells(folder, plan, measured.kept):
        rows = slice(first, first + len(table))
        of_cells = (measured.cells.measurements[rows], measured.nearest[rows], measured.islands[rows], regions[rows])
        yield final_table(table, first, *of_cells, plan.mpp, {name: column[rows] for name, column in types.items()})
        first += len(table)
