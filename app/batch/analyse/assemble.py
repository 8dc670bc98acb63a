"""The cells of a slide's tiles → the cells of the slide, each once, and what is told of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import shapely

from app.answer import present
from app.answer.schemas import FlagOut, QualityOut
from app.batch.analyse.cells import SlideCells
from app.batch.analyse.seams import keep_once
from app.batch.folder import RunFolder
from app.batch.part_tables import read_part
from app.batch.plan.plan import Plan, Region
from app.batch.summary import Counted
from app.pipeline.label.decide import decide_label
from app.pipeline.manifest import Manifest
from app.pipeline.proportions import Proportions, summarise
from app.pipeline.quality.assess import cell_flags
from app.pipeline.types import BoolArray


def kept_rows(at: RunFolder, plan: Plan) -> list[BoolArray]:
    """Which cells of each tile to keep, so that none at a seam counts twice or not at all."""
    tables = [read_part(at.part(plan.slide, i), ["x", "y", "depth"]) for i in range(len(plan.tiles))]
    centroids = [np.column_stack([table["x"].to_numpy(), table["y"].to_numpy()]) for table in tables]
    return keep_once(centroids, [table["depth"].to_numpy() for table in tables], plan.downsample)


def kept_parts(
    at: RunFolder, plan: Plan, kept: Sequence[BoolArray], columns: list[str] | None = None
) -> Iterator[pa.Table]:
    """The cells of the slide, one tile's at a time."""
    for number, rows in enumerate(kept):
        yield read_part(at.part(plan.slide, number), columns).filter(pa.array(rows))


def slide_cells(at: RunFolder, plan: Plan, kept: Sequence[BoolArray], n_clusters: int) -> SlideCells:
    """All cells of the slide, without their outlines, in the order of its tiles."""
    names = [f"p{k}" for k in range(n_clusters)]
    tables = list(kept_parts(at, plan, kept, ["x", "y", "outlier", *names]))
    if not tables:
        empty = np.zeros((0, n_clusters), np.float32)
        return SlideCells(np.zeros((0, 2)), np.zeros(0, np.int64), empty, np.zeros(0, bool))
    every = pa.concat_tables(tables)
    probs = np.column_stack([every[name].to_numpy() for name in names])
    centroids = np.column_stack([every["x"].to_numpy(), every["y"].to_numpy()])
    return SlideCells(centroids, probs.argmax(axis=1).astype(np.int64), probs, every["outlier"].to_numpy())


def region_members(cells: SlideCells, regions: Sequence[Region]) -> BoolArray:
    """(R, N) bool, which cells have their centre in which region."""
    areas = shapely.from_wkt([region.wkt for region in regions])
    x, y = cells.centroids.T
    return np.array([shapely.contains_xy(area, x, y) for area in areas], bool).reshape(len(regions), len(cells))


def region_names(members: BoolArray, regions: Sequence[Region]) -> list[str | None]:
    """The name of the region that each cell is in; of several, all; None for a cell in none.

    Args:
        members: (R, N) of `region_members`.
        regions: R of them.
    """
    return [
        "; ".join(region.name for region, is_inside in zip(regions, inside, strict=True) if is_inside)
        if inside.any()
        else None
        for inside in members.T
    ]


def count(cells: SlideCells, members: BoolArray, tissue_mm2: float, quality: QualityOut, manifest: Manifest) -> Counted:
    """Proportions and label of some cells of a slide.

    Args:
        cells: of the slide.
        members: (N,) bool, which count.
        tissue_mm2: that they were sought in.
        quality: of the slide; what is wrong with it prevents a label.
        manifest: of the bundle.
    """
    proportions = summarise(cells.cluster_probs[members], cells.outlier[members])
    doubts = [flag.message for flag in quality_with(quality, proportions, manifest).flags if flag.prevents_label]
    label = decide_label(proportions.values, proportions.n_counted, manifest.image_level, doubts)
    return Counted(
        cells=int(members.sum()),
        tissue_mm2=tissue_mm2,
        outliers=present.outliers_out(proportions),
        clusters=present.clusters_out(proportions, label, manifest),
        label=present.label_out(label, manifest.image_level),
    )


def quality_with(quality: QualityOut, proportions: Proportions, manifest: Manifest) -> QualityOut:
    """What was measured on the slide, and what its cells say about it."""
    flags = [FlagOut.model_validate(flag) for flag in cell_flags(proportions, manifest.outliers)]
    return quality.model_copy(update={"flags": [*quality.flags, *flags]})
