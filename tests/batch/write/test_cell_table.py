import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from app.batch.analyse.measured import list_column
from app.batch.write.cell_table import CellTableWriter, final_table, table_schema
from app.pipeline.measure.table import INDEX

BEFORE = ["id", "x", "y", "area_px", "area_um2", "cluster", *(f"p{k}" for k in range(5)), "outlier", "touches_border"]
BEFORE += [*(f"nearest_um_{k}" for k in range(5)), "island", "regions"]
"""The columns of a table of five clusters, before the outline and the measurements."""
ABOUT = {"notice": "for tests", "slide": "größe", "bundle_sha256": "0" * 64}


def table_of(example, rows=slice(None), mpp=0.25):
    part = example.tile_cells.slice(rows.start or 0, len(range(len(example.cells))[rows]))
    regions = ["left" if x < 256 else None for x in part["x"].to_pylist()]
    measurements = example.cells.measurements[rows]
    return final_table(part, rows.start or 0, measurements, example.nearest[rows], example.islands[rows], regions, mpp)


def write(target, tables, n_clusters=5):
    with CellTableWriter(target, table_schema(n_clusters), ABOUT) as writer:
        for table in tables:
            writer.write(table)
    return target


def test_table_has_every_cell_as_it_was_found(example, tmp_path):
    rows = pq.read_table(write(tmp_path / "cells.parquet", [table_of(example)]))
    assert rows.schema.equals(table_schema(5))
    assert rows["id"].to_pylist() == list(range(len(example.cells)))
    np.testing.assert_array_equal(np.column_stack([rows["x"], rows["y"]]), example.cells.centroids)
    np.testing.assert_array_equal(rows["cluster"], example.cells.clusters)
    np.testing.assert_array_equal(np.column_stack([rows[f"p{k}"] for k in range(5)]), example.cells.cluster_probs)
    np.testing.assert_allclose(rows["area_um2"], rows["area_px"].to_numpy() / 16, atol=1e-4)
    nearest = np.column_stack([rows[f"nearest_um_{k}"].to_numpy() for k in range(5)])
    np.testing.assert_array_equal(nearest, example.nearest)
    assert set(rows["regions"].to_pylist()) == {"left", None}
    areas = shapely.area(shapely.from_wkb(rows["geometry"].to_numpy(zero_copy_only=False)))
    np.testing.assert_allclose(areas, rows["area_px"].to_numpy() - 0.5)


def test_what_there_is_not_is_null_and_not_a_number(example):
    nearest, islands = np.full_like(example.nearest, np.nan), np.full(len(example.cells), -1, np.int32)
    nearest[0], islands[0] = 7.5, 3
    measurements = example.cells.measurements
    rows = final_table(example.tile_cells, 10, measurements, nearest, islands, [None] * len(example.cells), None)
    assert rows["area_um2"].null_count == len(rows)
    assert [rows[name].null_count for name in ("nearest_um_4", "island")] == [len(rows) - 1] * 2
    assert (rows["nearest_um_4"][0].as_py(), rows["island"][0].as_py(), rows["id"][0].as_py()) == (7.5, 3, 10)


@pytest.mark.parametrize("mpp", [0.25, None])
def test_table_has_every_measurement_with_its_unit_and_null_where_there_is_none(example, mpp):
    measurements = example.cells.measurements.copy()
    measurements[3, INDEX["perimeter"]] = np.nan
    nothing = [None] * len(example.cells)
    rows = final_table(example.tile_cells, 0, measurements, example.nearest, example.islands, nothing, mpp)
    unit = "px" if mpp is None else "um"
    perimeter = rows[f"perimeter_{unit}"].to_pylist()
    assert perimeter[3] is None
    measured = rows[f"perimeter_{unit}"].to_numpy()
    np.testing.assert_array_equal(measured[4:], measurements[4:, INDEX["perimeter"]])
    columns = {f"neighbour_distance_{unit}": "neighbour_distance", "neighbours_within_25_um": "neighbours_within_25_um"}
    for column, name in {**columns, "dark_clumps": "dark_clumps"}.items():
        np.testing.assert_array_equal(rows[column].to_numpy(), measurements[:, INDEX[name]])
        assert rows[column].null_count == np.isnan(measurements[:, INDEX[name]]).sum()
    assert len(rows.column_names) == len(set(rows.column_names))
    assert rows.column_names[: rows.column_names.index("geometry")] == BEFORE


def test_parts_are_row_groups_and_those_without_cells_are_none(example, tmp_path):
    tables = [table_of(example, slice(0, 40)), table_of(example, slice(40, 40)), table_of(example, slice(40, None))]
    with pq.ParquetFile(write(tmp_path / "cells.parquet", tables)) as file:
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        assert sizes == [40, len(example.cells) - 40]
        assert file.read().equals(table_of(example))


def test_slide_without_cells_has_a_table_without_rows(tmp_path):
    rows = pq.read_table(write(tmp_path / "cells.parquet", []))
    assert len(rows) == 0
    assert rows.schema.equals(table_schema(5))


def test_metadata_are_those_of_geoparquet(example, tmp_path):
    metadata = pq.read_schema(write(tmp_path / "cells.parquet", [table_of(example)])).metadata
    assert json.loads(metadata[b"geo"]) == {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {"geometry": {"encoding": "WKB", "geometry_types": ["Polygon"], "crs": None}},
    }
    assert json.loads(metadata[b"marrowscope"]) == ABOUT


def test_the_same_cells_are_the_same_bytes(example, tmp_path):
    files = [write(tmp_path / name, [table_of(example)]).read_bytes() for name in ("a.parquet", "b.parquet")]
    assert files[0] == files[1]


@pytest.mark.parametrize("before", [None, b"what was there"])
def test_after_an_error_there_is_no_new_file(example, tmp_path, before):
    target = tmp_path / "cells.parquet"
    if before:
        target.write_bytes(before)
    with pytest.raises(KeyError), CellTableWriter(target, table_schema(5), ABOUT) as writer:
        writer.write(table_of(example))
        raise KeyError
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([before] if before else [])


def test_rows_of_other_columns_are_refused(example, tmp_path):
    writer = CellTableWriter(tmp_path / "a", table_schema(5), ABOUT)
    with pytest.raises(ValueError, match="schema"), writer:
        writer.write(pa.table({"id": [1]}))
    assert not list(tmp_path.iterdir())


def test_table_has_the_features_that_the_bundle_gives(example, tmp_path):
    features = np.arange(3 * len(example.cells), dtype=np.float32).reshape(-1, 3)
    given = example.tile_cells.append_column("features", list_column(features))
    nowhere = [None] * len(given)
    table = final_table(given, 0, example.cells.measurements, example.nearest, example.islands, nowhere, 0.25)
    with CellTableWriter(tmp_path / "a", table_schema(5, n_features=3), ABOUT) as writer:
        writer.write(table)
    assert pq.read_table(tmp_path / "a")["features"].to_pylist() == features.tolist()
    assert "features" not in table_schema(5).names
