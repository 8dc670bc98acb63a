import csv
import io
from dataclasses import replace

from app.pipeline.measure.table import MEASUREMENTS
from tests.answer.rendering import analysed, as_json, named, render

CELL = ["tile_sha256", "id", "x", "y", "x0", "y0", "x1", "y1", "area_px", "touches_border"]
SORTED = [*CELL, "cluster", "cluster_name", "outlier", *(f"probability_{k}" for k in range(5))]
MEASURED = [one.column(scale_known=False) for one in MEASUREMENTS]
HEADER = [*SORTED, *(name for name in MEASURED if name != "area_px")]
TRUTH = {"true": True, "false": False}


def rows_of(result):
    """As a program reads them; strict: a stray quote is an error."""
    return list(csv.DictReader(io.StringIO(render(result, "csv").decode(), newline=""), strict=True))


def test_rows_are_the_cells_of_the_json_answer(result):
    answer = as_json(result)
    rows = rows_of(result)
    assert len(rows) == len(answer["cells"]) > 0
    for row, cell in zip(rows, answer["cells"], strict=True):
        assert list(row) == HEADER
        assert row["tile_sha256"] == answer["tile"]["sha256"]
        assert [float(row["x"]), float(row["y"])] == cell["centroid"]
        assert [int(row[key]) for key in ("x0", "y0", "x1", "y1")] == cell["bbox"]
        assert [int(row[key]) for key in ("id", "area_px", "cluster")] == [
            cell["id"],
            cell["area_px"],
            cell["cluster"],
        ]
        assert [TRUTH[row[key]] for key in ("touches_border", "outlier")] == [cell["touches_border"], cell["outlier"]]
        assert [float(row[f"probability_{k}"]) for k in range(5)] == cell["probabilities"]
        assert row["cluster_name"] == ""
        measured = {name: float(row[name]) if row[name] else None for name in HEADER[len(SORTED) :]}
        # The area of a nucleus that the border cuts is counted, but it is no measurement of the nucleus.
        assert measured | {"area_px": cell["measurements"]["area_px"]} == cell["measurements"]
        assert cell["measurements"]["area_px"] in (None, cell["area_px"])


def test_table_has_one_header_and_ends_each_row_as_rfc_4180_has_it(result):
    lines = render(result, "csv").decode().split("\r\n")
    assert lines[0] == ",".join(HEADER)
    assert lines[-1] == ""
    assert len(lines) == len(as_json(result)["cells"]) + 2


def test_table_is_without_measurements_where_they_are_not_wanted(result):
    header = render(replace(result, with_measurements=False), "csv").decode().split("\r\n")[0]
    assert header == ",".join(SORTED)


def test_header_has_the_units_where_the_scale_is_known(sample, bundle):
    header = render(analysed(sample, bundle, mpp=0.25), "csv").decode().split("\r\n")[0].split(",")
    assert {"area_px", "area_um2", "perimeter_um", "neighbour_distance_um"} <= set(header)
    assert len(set(header)) == len(header)


def test_tile_without_cells_is_a_header(empty_result):
    assert render(empty_result, "csv").decode() == ",".join(HEADER) + "\r\n"


def test_names_stand_as_they_were_given(result):
    names = {0: 'small, "round"', 1: "a = b", 2: "größer als 1 µm; 細胞", 3: "1+1", 4: " 'x' "}
    rows = rows_of(named(result, names))
    assert {row["cluster_name"] for row in rows} <= set(names.values())
    assert all(row["cluster_name"] == names[int(row["cluster"])] for row in rows)
    assert len({row["cluster"] for row in rows}) >= 3
