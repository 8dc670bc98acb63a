"""What a run leaves of a slide for QuPath: its cells with their outlines, as GeoJSON."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from app.answer import present
from app.answer.schemas import NOTICE
from app.batch.analyse.assemble import count, kept_parts, kept_rows, slide_cells
from app.batch.folder import Run, RunFolder
from app.batch.write.slide_geojson import About, write_geojson
from app.pipeline.bundle.load import Bundle

ABOUT = {"slide", "file", "fingerprint", "width", "height", "mpp"}
"""What of the plan is told in the file."""


def write_outlines(slide: str, at: RunFolder, bundle: Bundle, run: Run) -> None:
    """Write the GeoJSON of a slide whose tiles are all analysed.

    Args:
        slide: its id.
        at: folder of the run.
        bundle: what analysed.
        run: that it is part of.

    Raises:
        OSError: a file cannot be read or written.
    """
    plan, manifest = at.read_plan(slide), bundle.manifest
    kept = kept_rows(at, plan)
    cells = slide_cells(at, plan, kept, manifest.n_clusters)
    counted = count(cells, np.ones(len(cells), bool), plan.tissue_mm2, plan.quality, manifest)
    used = present.bundle_used(bundle, run.precision)
    members = {
        **plan.model_dump(mode="json", include=ABOUT),
        "notice": NOTICE,
        "label": counted.label.model_dump(mode="json"),
        "bundle": used.model_dump(mode="json"),
    }
    source = f"{plan.fingerprint}/{used.sha256}/{plan.mpp}/{used.precision}"
    about = About(members, source, [cluster.name for cluster in counted.clusters], plan.mpp)
    tables = _numbered(kept_parts(at, plan, kept), cells.clusters)
    write_geojson(at.geojson(slide, run), about, plan.regions, tables, compress=run.gzip)


def _numbered(parts: Iterator[pa.Table], clusters: np.ndarray) -> Iterator[pa.Table]:
    """The cells with their ids and clusters, one tile's at a time: outlines are never all in memory."""
    first = 0
    for part in parts:
        end = first + len(part)
        yield part.append_column("id", pa.array(range(first, end))).append_column(
            "cluster", pa.array(clusters[first:end])
        )
        first = end
