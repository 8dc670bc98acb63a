"""The results of a slide, made from the sample tile: the pipeline has computed every number."""

from dataclasses import dataclass

import cv2
import numpy as np
import pyarrow as pa
import shapely

from app.answer.present import Result
from app.answer.schemas import NOTICE, RangeOut, WithinOut
from app.batch.analyse.cells import SlideCells
from app.batch.plan.plan import Region
from app.batch.read.slide import whole_canvas
from app.batch.space.density import box_edge, density_maps, density_png, density_top
from app.batch.space.islands import island_summaries, islands
from app.batch.space.neighbours import nearest_um, pair_summaries
from app.batch.summary import RegionSummary, SlideInputs, SlideSummary
from app.batch.write.pictures import Pictures, overview_jpg
from app.pipeline.crops import pictures
from app.pipeline.nuclei.outlines import polygons
from app.pipeline.run import analyse_stages

MPP = 0.25
PER_CLUSTER = 12


@dataclass(frozen=True)
class SampleSlide:
    """The sample tile, taken for a slide."""

    summary: SlideSummary
    cells: SlideCells
    nearest: np.ndarray
    islands: np.ndarray
    tile_cells: pa.Table
    pictures: Pictures
    regions: tuple[Region, ...]


def analysed_sample(data: bytes, bundle, mpp: float | None = MPP, slide: str = "sample") -> SampleSlide:
    """Analyse a tile as if it were a slide; its left half is a region."""
    analysis, stages = analyse_stages(data, bundle, max_pixels=9_000_000, mpp=mpp)
    result = Result(analysis, bundle, "0" * 32)
    found, n_clusters = analysis.cells, bundle.manifest.n_clusters
    proportions, tile = analysis.proportions, analysis.tile
    surprise = np.zeros(len(found), np.float32)
    measurements = analysis.measurements.shown(mpp is not None).astype(np.float32)
    very_large = np.full(len(found), np.nan, np.float32)
    of_cells = (found.cluster_probs, surprise, proportions.outlier, measurements, very_large)
    cells = SlideCells(found.centroids, proportions.clusters, *of_cells)
    nearest, numbers = nearest_um(cells, MPP, n_clusters), islands(cells, MPP)
    half = shapely.box(0, 0, tile.width / 2, tile.height)
    region = Region(name="left <half>", wkt=half.wkt)
    counted = {
        "tissue_mm2": tile.width * tile.height * MPP**2 / 1e6,
        "cells": len(cells),
        "outliers": result.outliers,
        "clusters": result.clusters,
        "label": result.label,
        "tissue": result.tissue,
        "measurements": result.measurements,
        "means": {one.measurement: one.median for one in result.measurements},
        "very_large_nuclei": result.very_large_nuclei,
    }
    summary = SlideSummary(
        **counted,
        slide=slide,
        file=f"{slide}.png",
        fingerprint=tile.sha256,
        patient="P-1",
        notice=NOTICE,
        width=tile.width,
        height=tile.height,
        frame=whole_canvas(tile.width, tile.height),
        mpp=mpp,
        mpp_source="bundle" if mpp is None else "request",
        um_per_px=MPP,
        tiles=1,
        quality=result.quality,
        regions=[RegionSummary(name=region.name, **counted)],
        neighbours=pair_summaries(cells, nearest, MPP, n_clusters),
        islands=island_summaries(cells, numbers, n_clusters),
        segmentation=result.segmentation,
        bundle=result.bundle_used,
        code_version="0.1.0+000000000000",
        inputs=SlideInputs(
            slide=slide,
            file=f"{slide}.png",
            bytes=len(data),
            fingerprint=tile.sha256,
            regions_sha256="1" * 64,
            patient="P-1",
            bundle_sha256=bundle.sha256,
            code_version="0.1.0+000000000000",
            precision="fast",
            mpp=mpp,
            frame="bounds",
            max_pixels=9_000_000,
        ),
        files={},
    )
    outlines = [shapely.Polygon(outer, holes) for outer, *holes in polygons(analysis.cells.nuclei)]
    tile_cells = pa.table(
        {
            "x": found.centroids[:, 0],
            "y": found.centroids[:, 1],
            "area_px": found.areas_px,
            "touches_border": found.touches_border,
            "outlier": proportions.outlier,
            **{f"p{k}": found.cluster_probs[:, k] for k in range(n_clusters)},
            "very_large_um": very_large,
            "geometry": pa.array([outline.wkb for outline in outlines], pa.binary()),
        }
    )
    pictures = _pictures(cells, tile.pixels, stages, n_clusters, region)
    return SampleSlide(summary, cells, nearest, numbers, tile_cells, pictures, (region,))


def _pictures(cells, pixels, stages, n_clusters, region) -> Pictures:
    height, width = pixels.shape[:2]
    edge = box_edge(MPP)
    maps = density_maps(cells, width, height, edge, MPP, n_clusters)
    large = cv2.resize(pixels, (768, 768))
    tissue = cv2.resize(stages.stains.tissue.astype(np.uint8), (24, 24), interpolation=cv2.INTER_AREA) > 0
    top = density_top(maps)
    clusters = np.where(cells.outlier, -1, cells.clusters)
    return Pictures(
        overview=overview_jpg(large, tissue, [region], width / 768),
        density=[density_png(one, large, top, edge * 768 / width) for one in maps],
        density_top=top,
        cells=[pictures(stages.crops[clusters == k][:PER_CLUSTER]) for k in range(n_clusters)],
    )


def summary_without_reference(example: SampleSlide) -> SlideSummary:
    """Return the summary as a bundle without reference ranges would give it."""

    def without(counted):
        nothing = {"reference": None}
        changes = {
            "clusters": [cluster.model_copy(update=nothing) for cluster in counted.clusters],
            "measurements": [one.model_copy(update=nothing) for one in counted.measurements],
            "tissue": counted.tissue.model_copy(update=nothing),
            "label": counted.label.model_copy(update={"within_reference": None}),
        }
        return counted.model_copy(update=changes)

    regions = [without(region) for region in example.summary.regions]
    return without(example.summary).model_copy(update={"regions": regions})


def summary_with_reference(example: SampleSlide) -> SlideSummary:
    """Return the summary beside reference ranges: its first cluster is too large, and its composition lies outside."""
    summary = summary_without_reference(example)
    ends = {"low_interval": (0.01, 0.03), "high_interval": (0.04, 0.06), "n_patients": None, "indicative": True}
    reference = RangeOut(low=0.02, high=0.05, **ends, n_tiles=11, flag="high")
    first = summary.clusters[0].model_copy(update={"reference": reference})
    within = WithinOut(value=False, distance=4.5, threshold=3.25, n_tiles=11)
    found = summary.very_large_nuclei.model_copy(update={"count": 3, "per_mm2": 1.5})
    changes = {
        "clusters": [first, *summary.clusters[1:]],
        "label": summary.label.model_copy(update={"within_reference": within}),
        "very_large_nuclei": found,
    }
    return summary.model_copy(update={**changes, "slide": "beside"})


def summary_of(example: SampleSlide, slide: str, **changes) -> SlideSummary:
    """Return the summary, changed to that of another slide."""
    return example.summary.model_copy(update={"slide": slide, "file": f"{slide}.png", **changes})
