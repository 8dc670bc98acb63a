"""The cells of a slide for scanpy and squidpy: cells.h5ad, an AnnData file that is made from cells.parquet."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from anndata.io import write_elem
from pyarrow import parquet

from app.answer.palette import cluster_color, hex_color, type_colors
from app.batch.summary import SlideSummary
from app.batch.write.cell_table import measured_columns
from app.files import write_whole
from app.pipeline.manifest import Manifest
from app.pipeline.types import UInt8Array

NOT_IN_OBS = frozenset({"id", "x", "y", "geometry", "features"})
"""Columns of cells.parquet that have another place in the file, or none: outlines stay in the table."""
CATEGORIES = frozenset({"cluster", "type", "regions"})
CLUSTER_COLORS, TYPE_COLORS = "cluster_colors", "type_colors"
ROWS = 65_536
"""Cells that are in memory with all of their features at a time."""


def write_anndata(
    cells: Path, target: Path, summary: SlideSummary, manifest: Manifest, view: UInt8Array, view_px: float
) -> None:
    """Write the cells of a slide as AnnData; the same cells give the same bytes.

    The file is in memory until it is whole, about 0.6 kB for each cell. It has

    - X: float32, what the encoder sees of each cell; the measurements where the bundle has no features.
    - var: a row for each column of X, named by it.
    - obs: a row for each cell, named SLIDE-ID: the columns of cells.parquet, and slide and patient. Clusters, types,
      regions, slides and patients are categories. An island of −1 is none.
    - obsm: `spatial`, the centroids in px of level 0, which is what squidpy and scanpy draw on the picture of a slide;
      `spatial_um`, the same in µm, where the scale is known.
    - uns: `spatial`, a picture of the slide and its scale; `marrowscope`, where the cells come from; the colours of
      clusters and types.

    Args:
        cells: the path of cells.parquet.
        target: the path of the new file.
        summary: the summary of the slide.
        manifest: that of the bundle.
        view: (h, w, 3) uint8, a picture of the slide.
        view_px: the edge of a px of it, in px of level 0.

    Raises:
        OSError: a file cannot be read or written.
    """
    # HDF5 cannot close a file after an error of the disk, such as a full one, and then ends the process.
    buffer = io.BytesIO()
    with parquet.ParquetFile(cells) as table, h5py.File(buffer, "w") as file:
        _write(file, table, summary, manifest, (view, view_px))
    write_whole(buffer.getbuffer(), target)


def _write(
    file: h5py.File,
    table: parquet.ParquetFile,
    summary: SlideSummary,
    manifest: Manifest,
    picture: tuple[UInt8Array, float],
) -> None:
    file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    for name in ("layers", "obsp", "varm", "varp"):
        write_elem(file, name, {})
    measured = list(measured_columns(summary.mpp is not None))
    names = [f"feature_{i}" for i in range(manifest.n_features)] or measured
    _write_x(file, table, names, is_features=manifest.n_features > 0)
    write_elem(file, "var", pd.DataFrame(index=pd.Index(names)))
    _write_obs(file, table, summary, manifest)
    _write_places(file, table, summary.mpp)
    write_elem(file, "uns", _uns(summary, manifest, picture, "features" if manifest.n_features else "measured"))


def _write_x(file: h5py.File, table: parquet.ParquetFile, names: Sequence[str], *, is_features: bool) -> None:
    n_cells = table.metadata.num_rows
    chunks = (min(n_cells, 4096), len(names)) if n_cells else None
    data = file.create_dataset("X", (n_cells, len(names)), "<f4", chunks=chunks, compression="gzip" if chunks else None)
    data.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    first = 0
    for batch in table.iter_batches(ROWS, columns=["features"] if is_features else list(names)):
        if is_features:
            rows = batch["features"].flatten().to_numpy().reshape(len(batch), len(names))
        else:
            rows = np.stack([_numbers(batch[name]) for name in names], axis=1)
        data[first : first + len(batch)] = rows
        first += len(batch)


def _write_obs(file: h5py.File, table: parquet.ParquetFile, summary: SlideSummary, manifest: Manifest) -> None:
    """Write the columns of the cells one by one; together they may be larger than all else that a worker holds."""
    n_cells, obs = table.metadata.num_rows, file.create_group("obs")
    # Names must differ between slides, so that their files can be put together.
    ids = _column(table, "id").to_numpy()
    write_elem(obs, "_index", np.array([f"{summary.slide}-{i}" for i in ids], dtype=object))
    del ids
    every = np.zeros(n_cells, np.int8)
    write_elem(obs, "slide", pd.Categorical.from_codes(every, [summary.slide]))
    order = ["slide"]
    if summary.patient is not None:
        write_elem(obs, "patient", pd.Categorical.from_codes(every, [summary.patient]))
        order.append("patient")
    known = {"cluster": [str(k) for k in range(manifest.n_clusters)], "type": list(type_colors(manifest))}
    for name in table.schema_arrow.names:
        if name not in NOT_IN_OBS:
            write_elem(obs, name, _for_obs(name, _column(table, name), known.get(name)))
            order.append(name)
    about = {"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index"}
    obs.attrs.update({**about, "column-order": np.array(order, dtype=h5py.string_dtype())})


def _for_obs(name: str, column: pa.Array, categories: Iterable[str] | None) -> Any:
    """Return a column as AnnData holds it; every slide of a bundle has the same categories of clusters and types."""
    if name in CATEGORIES:
        given = list(categories) if categories is not None else sorted(set(column.to_pylist()) - {None})
        return pd.Categorical(column.cast(pa.string()).to_pylist(), categories=given)
    if name == "island":
        return pc.fill_null(column, -1).to_numpy()
    return column.to_numpy(zero_copy_only=False) if pa.types.is_boolean(column.type) else _numbers(column)


def _write_places(file: h5py.File, table: parquet.ParquetFile, mpp: float | None) -> None:
    places = np.stack([_column(table, "x").to_numpy(), _column(table, "y").to_numpy()], axis=1)
    write_elem(file, "obsm", {"spatial": places, **({} if mpp is None else {"spatial_um": places * mpp})})


def _uns(
    summary: SlideSummary, manifest: Manifest, picture: tuple[UInt8Array, float], in_x: str
) -> Mapping[str, object]:
    view, view_px = picture
    # The diameter of a nucleus of 40 µm², for programs that draw each cell as a disc.
    scales = {"tissue_hires_scalef": 1 / view_px, "spot_diameter_fullres": 7.0 / summary.um_per_px}
    colors = type_colors(manifest)
    clusters = [hex_color(cluster_color(k)) for k in range(manifest.n_clusters)]
    names = [manifest.cluster_names.of(k) if manifest.cluster_names else None for k in range(manifest.n_clusters)]
    about = {
        "notice": summary.notice,
        "library_id": summary.slide,
        "library_key": "slide",
        "file": summary.file,
        "fingerprint": summary.fingerprint,
        "bundle": summary.bundle.name,
        "bundle_version": summary.bundle.version,
        "bundle_sha256": summary.bundle.sha256,
        "cluster_names": np.array([names[k] or f"Cluster {k}" for k in range(len(names))], dtype=object),
        "code_version": summary.code_version,
        "inputs_sha256": summary.inputs.sha256,
        "frame": summary.frame.name,
        "frame_x": summary.frame.x,
        "frame_y": summary.frame.y,
        "spatial_unit": "px of level 0",
        "X": in_x,
        **({} if summary.mpp is None else {"um_per_px": summary.mpp}),
    }
    return {
        "marrowscope": about,
        "spatial": {summary.slide: {"images": {"hires": view}, "scalefactors": scales}},
        CLUSTER_COLORS: np.array(clusters, dtype=object),
        **({TYPE_COLORS: np.array([hex_color(color) for color in colors.values()], dtype=object)} if colors else {}),
    }


def _column(table: parquet.ParquetFile, name: str) -> pa.Array:
    return table.read(columns=[name])[name].combine_chunks()


def _numbers(column: pa.Array) -> Any:
    """Return numbers, NaN where there is none."""
    return column.to_numpy(zero_copy_only=False)
