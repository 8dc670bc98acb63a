"""The results of all slides of a batch together: one table row per slide and per region, a plot, and index.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from app.answer.cell_types import share_columns, share_values, type_names
from app.answer.csv_table import csv_table
from app.answer.schemas import TissueOut
from app.batch.folder import BatchFolder, BatchManifest
from app.batch.summary import Counted, FailedSlide, SlideSummary, read_summary
from app.batch.write.cohort_plot import cohort_plot
from app.batch.write.report import SHOWN, cohort_report
from app.files import whole_file, write_whole
from app.pipeline.bundle.load import Bundle
from app.pipeline.measure.table import INDEX, MEASUREMENTS
from app.pipeline.tissue.classes import CLASSES

Row = Mapping[str, str | int | float | None]
"""Values by column; a missing column is empty, and so is None."""

SLIDE = {"slide": pa.string(), "file": pa.string(), "patient": pa.string()}
STATUS = {"status": pa.string(), "error": pa.string()}
SIZE = {
    "width": pa.int64(),
    "height": pa.int64(),
    "frame": pa.string(),
    "frame_x": pa.int64(),
    "frame_y": pa.int64(),
    "mpp": pa.float64(),
    "mpp_source": pa.string(),
}
COUNTED = {"tissue_mm2": pa.float64(), "cells": pa.int64(), "outliers": pa.int64()}
LABEL = {"label": pa.string(), "score": pa.float64(), "probability": pa.float64(), "reason": pa.string()}
TISSUE = {**dict.fromkeys(("cellularity", *CLASSES), pa.float64()), "reference_cellularity": pa.string()}
REFERENCE = {"within_reference": pa.bool_()}
VERY_LARGE = {"very_large_nuclei": pa.int64(), "very_large_nuclei_per_mm2": pa.float64()}
SHOWN_COLUMNS = tuple(MEASUREMENTS[INDEX[name]].column(scale_known=True) for name in SHOWN)
"""Sizes are in µm, because slides in px cannot be compared; they are empty for a slide whose scale is not known."""
MEASURED = {f"{statistic}_{name}": pa.float64() for statistic in ("median", "mean") for name in SHOWN_COLUMNS}
OF_CLUSTER = {
    "count": pa.int64(),
    "proportion": pa.float64(),
    "low": pa.float64(),
    "high": pa.float64(),
    "density": pa.float64(),
    "reference": pa.string(),
}
NOVELTY = {"novelty_squares": pa.int64(), "novelty_unlike": pa.int64()}
"""How many squares of a slide were compared with the training tiles, and how many are unlike them."""
TYPES = {"cells_without_type": pa.int64(), "myeloid_erythroid_ratio": pa.float64()}
USED = ("segmentation_source", "segmentation_method", "bundle", "bundle_version", "bundle_sha256", "precision")
ORIGIN = dict.fromkeys((*USED, "code_version", "fingerprint", "inputs_sha256"), pa.string())


def write_cohort(folder: BatchFolder, batch: BatchManifest, bundle: Bundle, failures: Mapping[str, str]) -> None:
    """Write the tables, the plot and index.html from the summaries of all slides that have results.

    Args:
        folder: the folder of the batch.
        batch: what the batch was to do.
        bundle: the bundle that analysed the slides.
        failures: for the id of each slide without results, why it has none.

    Raises:
        OSError: a file cannot be read or written.
    """
    n_clusters = bundle.manifest.n_clusters
    summaries = [read_summary(folder.summary(one.slide)) for one in batch.slides if one.slide not in failures]
    failed = [
        FailedSlide(one.slide, Path(one.path).name, one.patient, failures[one.slide])
        for one in batch.slides
        if one.slide in failures
    ]
    types = type_names(bundle.manifest)
    slides = slides_table(summaries, failed, n_clusters, types)
    with whole_file(folder.path / "slides.parquet") as temporary:
        pq.write_table(slides, temporary, compression="zstd")
    plot = cohort_plot(summaries, bundle.manifest.image_level.reference)
    files = {
        "slides.csv": table_csv(slides),
        "regions.csv": table_csv(regions_table(summaries, n_clusters, types)),
        "failures.csv": table_csv(failures_table(failed)),
        "proportions.png": plot,
    }
    links = ["slides.csv", "slides.parquet", "regions.csv", "failures.csv", "proportions.png"]
    files["index.html"] = cohort_report(summaries, failed, plot, links)
    for name, content in files.items():
        write_whole(content, folder.path / name)


def slides_table(
    summaries: Sequence[SlideSummary], failures: Sequence[FailedSlide], n_clusters: int, types: Sequence[str] = ()
) -> pa.Table:
    """Make the table of slides: one row per slide, also for those that failed, in the order of their ids.

    For each cluster k the columns are count_k, proportion_k, low_k and high_k (its interval), density_k (cells per mm²
    of tissue), reference_k (whether the proportion is low, within or high beside the reference range of the bundle),
    islands_k and island_share_k (the share of its cells in islands). For each pair of clusters they are
    nearest_i_j (the median distance in µm from a cell of i to the nearest other cell of j) and nearest_ratio_i_j (the
    mean distance divided by that by chance). If the bundle knows types of cells, there are type_count_NAME,
    type_proportion_NAME, type_low_NAME, type_high_NAME and type_density_NAME for each, the number of counted cells
    without a type, and the ratio of myeloid to erythroid cells.

    Args:
        summaries: the slides that have results.
        failures: the slides that have none.
        n_clusters: K.
        types: the names of the types that the bundle knows.
    """
    rows = [*map(_slide_row, summaries), *map(_failed_row, failures)]
    columns = {
        **SLIDE,
        **STATUS,
        **SIZE,
        "tiles": pa.int64(),
        "flags": pa.string(),
        **NOVELTY,
        **_counted_columns(n_clusters, types),
        **{name: kind for k in range(n_clusters) for name, kind in _island_columns(k).items()},
        **{name: pa.float64() for i in range(n_clusters) for j in range(n_clusters) for name in _pair_columns(i, j)},
        **ORIGIN,
    }
    return _table(sorted(rows, key=lambda row: str(row["slide"])), columns)


def regions_table(summaries: Sequence[SlideSummary], n_clusters: int, types: Sequence[str] = ()) -> pa.Table:
    """Make the table of regions, in the order of slides and regions; its columns mean the same as in `slides_table`."""
    rows = [
        {**_identity(summary), "region": region.name, **_counted(region), **_origin(summary)}
        for summary in sorted(summaries, key=lambda summary: summary.slide)
        for region in summary.regions
    ]
    return _table(rows, {**SLIDE, "region": pa.string(), **_counted_columns(n_clusters, types), **ORIGIN})


def failures_table(failures: Sequence[FailedSlide]) -> pa.Table:
    """Make the table of slides without results, in the order of their ids."""
    rows = [_failed_row(failed) for failed in sorted(failures, key=lambda failed: failed.slide)]
    return _table(rows, {**SLIDE, "error": pa.string()})


def table_csv(table: pa.Table) -> bytes:
    """Write a table as `csv_table` does; null is an empty field."""
    columns = [[_word(value) for value in table[name].to_pylist()] for name in table.column_names]
    return csv_table(table.column_names, zip(*columns, strict=True))


def _word(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def _table(rows: Sequence[Row], columns: Mapping[str, pa.DataType]) -> pa.Table:
    return pa.table({name: pa.array([_text(row.get(name)) for row in rows], kind) for name, kind in columns.items()})


def _text(value: str | int | float | None) -> str | int | float | None:
    # The name of a file may hold bytes that are not text.
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def _counted_columns(n_clusters: int, types: Sequence[str]) -> dict[str, pa.DataType]:
    clusters = {f"{name}_{k}": kind for k in range(n_clusters) for name, kind in OF_CLUSTER.items()}
    kinds = (pa.int64(), pa.float64(), pa.float64(), pa.float64())
    of_types: dict[str, pa.DataType] = {}
    for name in types:
        of_types |= {**dict(zip(share_columns(name), kinds, strict=True)), _density_column(name): pa.float64()}
    if types:
        of_types |= TYPES
    return {**COUNTED, **TISSUE, **LABEL, **REFERENCE, **VERY_LARGE, **MEASURED, **clusters, **of_types}


def _density_column(name: str) -> str:
    return f"type_density_{name}"


def _island_columns(k: int) -> dict[str, pa.DataType]:
    return {f"islands_{k}": pa.int64(), f"island_share_{k}": pa.float64()}


def _pair_columns(i: int, j: int) -> tuple[str, str]:
    return f"nearest_{i}_{j}", f"nearest_ratio_{i}_{j}"


def _failed_row(failed: FailedSlide) -> Row:
    return {
        "slide": failed.slide,
        "file": failed.file,
        "patient": failed.patient,
        "status": "failed",
        "error": failed.reason,
    }


def _slide_row(summary: SlideSummary) -> Row:
    row: dict[str, str | int | float | None] = {
        **_identity(summary),
        "status": "ok",
        "width": summary.width,
        "height": summary.height,
        "frame": summary.frame.name,
        "frame_x": summary.frame.x,
        "frame_y": summary.frame.y,
        "mpp": summary.mpp,
        "mpp_source": summary.mpp_source,
        "tiles": summary.tiles,
        "flags": " ".join(flag.code for flag in summary.quality.flags),
        **_novelty(summary),
        **_counted(summary),
        **_origin(summary),
    }
    for island in summary.islands:
        row.update(zip(_island_columns(island.cluster), (island.islands, island.share), strict=True))
    for pair in summary.neighbours:
        row.update(zip(_pair_columns(pair.cluster, pair.other), (pair.median_um, pair.ratio), strict=True))
    return row


def _novelty(summary: SlideSummary) -> Row:
    counts = (summary.novelty.squares, summary.novelty.unlike) if summary.novelty else (None, None)
    return dict(zip(NOVELTY, counts, strict=True))


def _identity(summary: SlideSummary) -> Row:
    return {"slide": summary.slide, "file": summary.file, "patient": summary.patient}


def _origin(summary: SlideSummary) -> Row:
    found, bundle = summary.segmentation, summary.bundle
    used = (found.source, found.method, bundle.name, bundle.version, bundle.sha256, bundle.precision)
    values = (*used, summary.code_version, summary.fingerprint, summary.inputs.sha256)
    return dict(zip(ORIGIN, values, strict=True))


def _tissue(tissue: TissueOut | None) -> Row:
    if tissue is None:
        return {}
    flag = tissue.reference.flag if tissue.reference else None
    return {**tissue.model_dump(include=set(TISSUE)), "reference_cellularity": flag}


def _counted(counted: Counted) -> Row:
    label = counted.label
    row: dict[str, str | int | float | None] = {
        "tissue_mm2": counted.tissue_mm2,
        "cells": counted.cells,
        "outliers": counted.outliers.count,
        **_tissue(counted.tissue),
        "label": label.value,
        "score": label.score,
        "probability": label.probability,
        "reason": label.reason,
        "within_reference": label.within_reference.value if label.within_reference else None,
        "very_large_nuclei": counted.very_large_nuclei.count,
        "very_large_nuclei_per_mm2": counted.very_large_nuclei.per_mm2,
        **{f"mean_{name}": counted.means.get(name) for name in SHOWN_COLUMNS},
        **{f"median_{one.measurement}": one.median for one in counted.measurements if one.measurement in SHOWN_COLUMNS},
    }
    for cluster in counted.clusters:
        k, (low, high) = cluster.cluster, cluster.interval or (None, None)
        row[f"count_{k}"], row[f"proportion_{k}"] = cluster.count, cluster.proportion
        row[f"low_{k}"], row[f"high_{k}"] = low, high
        row[f"reference_{k}"] = cluster.reference.flag if cluster.reference else None
        row[f"density_{k}"] = _density(cluster.count, counted)
    for one in counted.types or []:
        row[_density_column(one.type)] = _density(one.count, counted)
    return {**row, **share_values(counted.types or []), **counted.model_dump(include=set(TYPES))}


def _density(count: int, counted: Counted) -> float | None:
    return round(count / counted.tissue_mm2, 3) if counted.tissue_mm2 > 0 else None
