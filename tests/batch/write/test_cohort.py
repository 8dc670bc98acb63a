import csv
import io

import pytest

from app.batch.write.cohort import Failure, failures_table, regions_table, slides_table, table_csv
from tests.batch.made_summary import renamed

FAILED = Failure("m", "m.svs", None, "The file is damaged.")


def rows_of(table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table_csv(table).decode(), newline="")))


def test_slide_has_one_row_with_the_values_of_its_summary(made):
    (row,) = slides_table([made.summary], [], 5).to_pylist()
    summary = made.summary
    for name in ("slide", "file", "patient", "width", "height", "mpp", "tissue_mm2", "tiles", "cells", "fingerprint"):
        assert row[name] == getattr(summary, name)
    assert (row["status"], row["error"], row["outliers"]) == ("ok", None, summary.outliers.count)
    assert (row["label"], row["score"]) == (summary.label.value, summary.label.score)
    assert row["flags"] == "few_cells"
    for cluster in summary.clusters:
        k = cluster.cluster
        assert row[f"count_{k}"] == cluster.count
        assert row[f"proportion_{k}"] == cluster.proportion
        assert (row[f"low_{k}"], row[f"high_{k}"]) == cluster.interval
        assert row[f"density_{k}"] == pytest.approx(cluster.count / summary.tissue_mm2, abs=1e-3)
    for pair in summary.neighbours:
        assert row[f"nearest_{pair.cluster}_{pair.other}"] == pair.median_um
        assert row[f"nearest_ratio_{pair.cluster}_{pair.other}"] == pair.ratio
    assert [row[f"islands_{k}"] for k in range(5)] == [island.islands for island in summary.islands]
    assert (row["bundle"], row["bundle_sha256"]) == (summary.bundle.name, summary.bundle.sha256)


def test_failed_slides_have_their_rows_among_the_others(made):
    rows = rows_of(slides_table([renamed(made, "z"), renamed(made, "a")], [FAILED], 5))
    assert [(row["slide"], row["status"]) for row in rows] == [("a", "ok"), ("m", "failed"), ("z", "ok")]
    assert rows[1]["error"] == FAILED.reason
    assert {value for name, value in rows[1].items() if name not in ("slide", "file", "status", "error")} == {""}


def test_table_has_the_same_columns_whether_a_slide_was_done_or_not(made):
    assert slides_table([], [FAILED], 5).schema.equals(slides_table([made.summary], [], 5).schema)


def test_every_region_has_a_row_of_its_own_cells(made):
    table = regions_table([renamed(made, "z"), made.summary], 5)
    assert table["slide"].to_pylist() == ["sample", "z"]
    row = table.to_pylist()[0]
    (region,) = made.summary.regions
    assert (row["region"], row["cells"], row["label"]) == (region.name, region.cells, region.label.value)
    assert [row[f"count_{k}"] for k in range(5)] == [cluster.count for cluster in region.clusters]
    assert row["patient"] == "P-1"


def test_failures_have_their_reasons():
    assert rows_of(failures_table([FAILED])) == [
        {"slide": "m", "file": "m.svs", "patient": "", "error": "The file is damaged."}
    ]


@pytest.mark.parametrize("name", ["=HYPERLINK(0)", "+1", "-2", "@SUM(A1)", "\tx"])
def test_spreadsheets_see_no_formula_in_a_name(made, name):
    (row,) = rows_of(slides_table([renamed(made, name, patient=name)], [], 5))
    assert row["slide"] == row["patient"] == f"'{name}"
    # Numbers below 0 stay numbers.
    assert float(row["score"]) == made.summary.label.score


@pytest.mark.parametrize("name", ['Müller, "A"', "two\nlines", "\udcff.svs"])
def test_any_name_can_stand_in_a_table(name):
    (row,) = rows_of(failures_table([Failure("a", name, None, "b")]))
    assert row["file"] == name.replace("\udcff", "\\udcff")
