"""The cells of a slide: put together from the tables of its tiles, and counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from app.answer import present
from app.answer.cell_types import types_out
from app.answer.ranges import measurements_out
from app.answer.schemas import FlagOut, QualityOut, VeryLargeNucleiOut
from app.batch.analyse.measured import exact, from_list_column, in_um, measure_nearby, unpack_places
from app.batch.analyse.seams import keep_once
from app.batch.analyse.tile import CUT_DOWN, LEFT_OUT
from app.batch.folder import BatchFolder
from app.batch.plan.inputs import SlideChanged
from app.batch.plan.plan import Plan
from app.batch.summary import Counted
from app.files import whole_file
from app.pipeline.cell_types import CellTypes, classify
from app.pipeline.label.decide import Label, decide_label
from app.pipeline.manifest import Manifest
from app.pipeline.measure.cells import NEIGHBOUR_COLUMNS, distance, medians
from app.pipeline.measure.table import INDEX, MEASUREMENTS
from app.pipeline.measure.very_large import VeryLargeNucleus
from app.pipeline.proportions import Proportions, summarise
from app.pipeline.quality.assess import cell_flags
from app.pipeline.tissue.classes import Composition
from app.pipeline.types import BoolArray, Float32Array, Float64Array, Int64Array
from app.pipeline.uploaded_nuclei.read import IN_PIECES, upload_flags

INPUTS = b"inputs_sha256"
"""The key in the metadata of a tile's table that says from which inputs it was made."""


@dataclass(frozen=True, slots=True)
class SlideCells:
    """The cells of a slide; row i of every array is the cell with id i. Their outlines stay on disk.

    Attributes:
        centroids: (N, 2) float64 x, y in px of level 0, pixels named by their centres.
        clusters: (N,) int64, the most probable cluster.
        cluster_probs: (N, K) float32, the probability of each cluster.
        surprise: (N,) float32, how unlike the training cells the cell is.
        outlier: (N,) bool, whether the cell is counted in no cluster.
        measurements: (N, M) float32 in the order of `MEASUREMENTS`, in the units of the results and with their
            decimals; NaN where a cell has none.
        very_large_um: (N,) float32, the equivalent diameter of a very large nucleus, for its largest lobe; NaN for
            every other cell.
        types: the types of the cells; None where the bundle has no cell classifier.
    """

    centroids: Float64Array
    clusters: Int64Array
    cluster_probs: Float32Array
    surprise: Float32Array
    outlier: BoolArray
    measurements: Float32Array
    very_large_um: Float32Array
    types: CellTypes | None = None

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.centroids)


def write_tile(cells: pa.Table, target: Path, inputs_sha256: str) -> None:
    """Write the table of one tile's cells, whole or not at all; the same cells give the same bytes.

    Args:
        cells: the result of `analyse_tile`.
        target: the path of the file.
        inputs_sha256: the checksum of the slide's inputs, with which the file is marked.

    Raises:
        OSError: the file cannot be written.
    """
    with whole_file(target) as temporary:
        metadata = {**(cells.schema.metadata or {}), INPUTS: inputs_sha256}
        pq.write_table(cells.replace_schema_metadata(metadata), temporary, compression="zstd")


def is_complete_tile(path: Path, inputs_sha256: str) -> bool:
    """Whether the table of one tile's cells exists, up to the end of the file, and was made from these inputs."""
    try:
        return _is_of(pq.read_schema(path), inputs_sha256)
    except (OSError, pa.ArrowException):
        return False


def kept_rows(folder: BatchFolder, plan: Plan) -> list[BoolArray]:
    """Decide which cells of each tile to keep, so that every cell at a seam is counted exactly once.

    Returns:
        For each tile (n,) bool.

    Raises:
        SlideChanged: a tile was made from other inputs than the plan.
        OSError: the table of a tile cannot be read.
    """
    tables = [_read_tile(folder, plan, i, ["x", "y", "depth"]) for i in range(len(plan.tiles))]
    centroids = [np.column_stack([table["x"].to_numpy(), table["y"].to_numpy()]) for table in tables]
    return keep_once(centroids, [table["depth"].to_numpy() for table in tables], plan.downsample)


def kept_cells(
    folder: BatchFolder, plan: Plan, kept: Sequence[BoolArray], columns: list[str] | None = None
) -> Iterator[pa.Table]:
    """Yield the cells of the slide, one tile at a time, so that all outlines are never in memory at once.

    Args:
        folder: the folder of the batch.
        plan: the plan of the slide.
        kept: the result of `kept_rows`.
        columns: the columns to read; None for all.

    Raises:
        SlideChanged: a tile was made from other inputs than the plan.
        OSError: the table of a tile cannot be read.
    """
    for number, rows in enumerate(kept):
        yield _read_tile(folder, plan, number, columns).filter(pa.array(rows))


def slide_cells(folder: BatchFolder, plan: Plan, kept: Sequence[BoolArray], manifest: Manifest) -> SlideCells:
    """Read all cells of the slide, without their outlines, in the order of its tiles.

    Args:
        folder: the folder of the batch.
        plan: the plan of the slide.
        kept: the result of `kept_rows`.
        manifest: the manifest of the bundle.

    Raises:
        SlideChanged: a tile was made from other inputs than the plan.
        OSError: the table of a tile cannot be read.
    """
    n_clusters = manifest.n_clusters
    n_cells = sum(int(rows.sum()) for rows in kept)
    names = [f"p{k}" for k in range(n_clusters)]
    centroids, probs = np.zeros((n_cells, 2)), np.zeros((n_cells, n_clusters), np.float32)
    surprise, very_large = np.zeros(n_cells, np.float32), np.zeros(n_cells, np.float32)
    outlier = np.zeros(n_cells, bool)
    measurements = np.zeros((n_cells, len(MEASUREMENTS)), np.float32)
    first = 0
    # They are copied tile by tile, so that the tables of all tiles are never in memory at once.
    columns = ["x", "y", "surprise", "outlier", "measurements", "very_large_um", *names]
    for table in kept_cells(folder, plan, kept, columns):
        rows = slice(first, first + len(table))
        for axis, name in enumerate(("x", "y")):
            centroids[rows, axis] = table[name].to_numpy()
        for k, name in enumerate(names):
            probs[rows, k] = table[name].to_numpy()
        surprise[rows], outlier[rows] = table["surprise"].to_numpy(), table["outlier"].to_numpy()
        very_large[rows] = table["very_large_um"].to_numpy()
        measurements[rows] = from_list_column(table["measurements"])
        first += len(table)
    others = [unpack_places(pq.read_schema(folder.tile(plan.slide, number))) for number in range(len(kept))]
    measurements[:, NEIGHBOUR_COLUMNS] = measure_nearby(centroids, np.concatenate([np.zeros((0, 2)), *others]), plan)
    clusters = probs.argmax(axis=1).astype(np.int64)
    cells = SlideCells(centroids, clusters, probs, surprise, outlier, measurements, very_large)
    return replace(cells, types=_types(folder, plan, kept, cells, manifest))


def _types(
    folder: BatchFolder, plan: Plan, kept: Sequence[BoolArray], cells: SlideCells, manifest: Manifest
) -> CellTypes | None:
    """Return the types of all cells of the slide, whose neighbours may lie in another tile; see `slide_cells`."""
    classifier = manifest.cell_classifier
    if classifier is None:
        return None
    # 16 bits are what the tables of the tiles were rounded to.
    features = np.zeros((len(cells), manifest.n_features), np.float16)
    first = 0
    for table in kept_cells(folder, plan, kept, ["features"]):
        features[first : first + len(table)] = from_list_column(table["features"], manifest.n_features)
        first += len(table)
    every, columns = np.ones(len(cells), bool), [INDEX[name] for name in classifier.measurements]
    shown = [exact(cells.measurements, column, every) for column in columns]
    factors = [1.0 if plan.mpp is not None else 1 / MEASUREMENTS[column].per_pixel(manifest.mpp) for column in columns]
    measured = np.reshape(shown, (len(columns), len(cells))).T * factors
    return classify(features, measured, cells.centroids, classifier)


def kept_members(folder: BatchFolder, plan: Plan, kept: Sequence[BoolArray]) -> BoolArray:
    """Read which cells of the slide lie in each of R regions: (R, N) bool.

    Args:
        folder: the folder of the batch.
        plan: the plan of the slide.
        kept: the result of `kept_rows`.

    Raises:
        OSError: the table of a tile cannot be read.
    """
    of_tiles = [table["members"].to_pylist() for table in kept_cells(folder, plan, kept, ["members"])]
    of_cells = list(chain.from_iterable(of_tiles))
    members = np.zeros((len(plan.regions), len(of_cells)), bool)
    for cell, regions in enumerate(of_cells):
        members[regions, cell] = True
    return members


def upload_flags_of(folder: BatchFolder, plan: Plan) -> list[FlagOut]:
    """Return the flags of nuclei that another program has found; none where the bundle found them.

    Args:
        folder: the folder of the batch.
        plan: the plan of the slide, whose tiles were all analysed.

    Raises:
        OSError: the table of a tile cannot be read.
    """
    if plan.nuclei is None:
        return []
    schemas = [pq.read_schema(folder.tile(plan.slide, number)) for number in range(len(plan.tiles))]
    left_out, cut_down = (
        sum(int((schema.metadata or {}).get(key, 0)) for schema in schemas) for key in (LEFT_OUT, CUT_DOWN)
    )
    reasons = {"too small, or mostly covered by nuclei before them": left_out, IN_PIECES: cut_down}
    reasons.update(plan.nuclei.skipped)
    return [FlagOut.model_validate(flag) for flag in upload_flags("geojson", reasons)]


def label_cells(
    cells: SlideCells, members: BoolArray, quality: QualityOut, manifest: Manifest, *, scale_known: bool
) -> tuple[Proportions, Label]:
    """Count some of the cells of a slide by cluster, and label them.

    Args:
        cells: the cells of the slide.
        members: (N,) bool, which of them are counted.
        quality: the quality of the slide; a serious flaw prevents a label.
        manifest: the manifest of the bundle.
        scale_known: whether the scale of the slide is known, so that its measurements are in µm.
    """
    proportions = summarise(cells.cluster_probs[members], cells.outlier[members])
    flags = quality_with(quality, cells, members, manifest).flags
    doubts = [flag.message for flag in flags if flag.prevents_label]
    known: dict[str, float] = {}
    if names := [one.measurement for one in manifest.image_level.measurements]:
        counted = cells.measurements[members & ~cells.outlier]
        known = medians(in_um(counted, manifest.mpp, scale_known=scale_known), names)
    return proportions, decide_label(proportions.values, proportions.n_counted, manifest.image_level, doubts, known)


def count(
    cells: SlideCells,
    members: BoolArray,
    tissue_mm2: float,
    tissue: Composition | None,
    quality: QualityOut,
    manifest: Manifest,
    *,
    scale_known: bool,
) -> Counted:
    """Summarise some of the cells of a slide; the arguments are those of `label_cells`, and two more.

    Args:
        cells: see there.
        members: see there.
        tissue_mm2: the area of the tissue in which they were found, in mm².
        tissue: what it consists of; None if that is not known.
        quality: see there.
        manifest: see there.
        scale_known: see there.
    """
    proportions, label = label_cells(cells, members, quality, manifest, scale_known=scale_known)
    counted = members & ~cells.outlier
    columns = (exact(cells.measurements, i, counted) for i in range(len(MEASUREMENTS)))
    return Counted(
        cells=int(members.sum()),
        tissue_mm2=tissue_mm2,
        outliers=present.outliers_out(proportions),
        clusters=present.clusters_out(proportions, label, manifest),
        **types_out(cells.types, counted, manifest),
        label=present.label_out(label, proportions, manifest),
        tissue=present.tissue_out(tissue, manifest, scale_known=scale_known) if tissue else None,
        measurements=measurements_out(columns, manifest, None if scale_known else manifest.mpp),
        means={
            measurement.column(scale_known): _mean(exact(cells.measurements, i, counted))
            for i, measurement in enumerate(MEASUREMENTS)
        },
        very_large_nuclei=_very_large(cells, members, tissue_mm2 if scale_known else None),
    )


def _mean(values: Float64Array) -> float | None:
    measured = values[np.isfinite(values)]
    return float(measured.mean()) if measured.size else None


def _very_large(cells: SlideCells, members: BoolArray, tissue_mm2: float | None) -> VeryLargeNucleiOut:
    """Return the very large nuclei among some of the cells; the id of each is that of its largest lobe."""
    ids = np.flatnonzero(members & np.isfinite(cells.very_large_um))
    diameters = cells.very_large_um[ids].astype(np.float64)
    found = [
        VeryLargeNucleus(ids[[i]], float(np.pi / 4 * diameters[i] ** 2)) for i in np.argsort(-diameters, kind="stable")
    ]
    return present.very_large_out(found, tissue_mm2)


def quality_with(quality: QualityOut, cells: SlideCells, members: BoolArray, manifest: Manifest) -> QualityOut:
    """Return the quality of a slide, with the flags that some of its cells, (N,) bool, give cause for."""
    proportions, counted = summarise(cells.cluster_probs[members], cells.outlier[members]), members & ~cells.outlier
    columns = (exact(cells.measurements, i, counted) for i in range(len(MEASUREMENTS)))
    afar = distance(columns, manifest.reference_ranges)
    found = cell_flags(proportions, cells.surprise[members], manifest.outliers, afar)
    return quality.model_copy(update={"flags": [*quality.flags, *map(FlagOut.model_validate, found)]})


def _read_tile(folder: BatchFolder, plan: Plan, number: int, columns: list[str] | None) -> pa.Table:
    table = pq.read_table(folder.tile(plan.slide, number), columns=columns, partitioning=None)
    # A worker that was lost may still have written its tile after the slide was begun anew.
    if not _is_of(table.schema, plan.inputs.sha256):
        raise SlideChanged
    return table


def _is_of(schema: pa.Schema, inputs_sha256: str) -> bool:
    return (schema.metadata or {}).get(INPUTS) == inputs_sha256.encode()
