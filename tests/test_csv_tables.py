"""No table that the program writes holds a formula, whatever files, patients and clusters are called."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from app.answer.cell_table import cell_table
from app.answer.csv_table import csv_table, plain_text
from app.batch.summary import FailedSlide
from app.batch.write.cohort import failures_table, regions_table, slides_table, table_csv
from app.cohort.patients import read_patients
from app.pipeline.bundle.load import load_bundle
from app.pipeline.manifest import ClusterName, ClusterNames
from app.shell.outputs import answered_row, failed_row, summary_table
from tests.answer.rendering import analysed
from tests.batch.sample_slide import analysed_sample, summary_of
from tests.conftest import REPOSITORY

HOSTILE = [
    "=HYPERLINK(0)",
    "+1",
    "-2",
    "@SUM(A1)",
    "\tx",
    "\r=x",
    "\uff1d1",
    "'=1",
    '=cmd|" /C calc"!A0',
]


@pytest.fixture(scope="module")
def bundle(shipped_bundle):
    return load_bundle(shipped_bundle, threads=1)


@pytest.fixture(scope="module")
def result(sample, bundle):
    return analysed(sample, bundle)


@pytest.fixture(scope="module")
def slide(sample, bundle):
    return analysed_sample(sample, bundle)


def rows_of(table: bytes):
    return list(csv.DictReader(io.StringIO(table.decode(), newline=""), strict=True))


def hostile_result(result, name):
    """The result of a bundle that somebody gave this name, and whose clusters have it too."""
    names = [ClusterName.model_construct(cluster=k, name=name, by="A", when="", cells=9) for k in range(5)]
    changes = {"name": name, "cluster_names": ClusterNames.model_construct(version=1, clusters=tuple(names))}
    return replace(result, bundle=replace(result.bundle, manifest=result.bundle.manifest.model_copy(update=changes)))


def every_table(result, slide, name):
    """What each writer makes of a hostile name wherever a client or a file may put it."""
    hostile = hostile_result(result, name)
    yield cell_table(hostile), {"cluster_name"}
    yield summary_table([answered_row(Path(name), hostile)], 5), {"tile", "bundle"}
    yield summary_table([failed_row(Path(name), name)], 5), {"tile", "error"}
    label = slide.summary.label.model_copy(update={"reason": name})
    region = slide.summary.regions[0].model_copy(update={"name": name, "label": label})
    used = slide.summary.bundle.model_copy(update={"name": name})
    changes = {"file": name, "patient": name, "label": label, "regions": [region], "bundle": used}
    summary, failed = summary_of(slide, name, **changes), FailedSlide(name, name, name, name)
    texts = {"slide", "file", "patient", "reason", "bundle"}
    yield table_csv(slides_table([summary], [], 5)), texts
    yield table_csv(slides_table([], [failed], 5)), {"slide", "file", "patient", "error"}
    yield table_csv(regions_table([summary], 5)), {*texts, "region"}
    yield table_csv(failures_table([failed])), {"slide", "file", "patient", "error"}


@pytest.mark.parametrize("name", HOSTILE, ids=repr)
def test_no_table_holds_a_formula(result, slide, name):
    for table, columns in every_table(result, slide, name):
        rows = rows_of(table)
        assert rows
        for row in rows:
            assert {column for column, field in row.items() if field == f"'{name}"} == columns
            assert {plain_text(row[column]) for column in columns} == {name}


def test_number_below_zero_is_no_text(result, slide):
    (tile,) = rows_of(summary_table([answered_row(Path("a"), result)], 5))
    (row,) = rows_of(table_csv(slides_table([slide.summary], [], 5)))
    assert float(tile["score"]) == float(row["score"]) == result.label.score < 0
    assert rows_of(csv_table(["n"], [[-1], [-0.5]])) == [{"n": "-1"}, {"n": "-0.5"}]


@pytest.mark.parametrize("name", [*HOSTILE, "P-1", "'quoted'", "1=2", "", "''=2"], ids=repr)
def test_text_that_is_read_back_is_the_same(name):
    ((field,),) = (row.values() for row in rows_of(csv_table(["a"], [[name]])))
    assert plain_text(field) == name


def test_table_of_slides_is_a_table_of_patients(slide, tmp_path):
    path = tmp_path / "slides.csv"
    path.write_bytes(table_csv(slides_table([summary_of(slide, "=A1", patient="-7")], [], 5)))
    assert read_patients(path).patients == {"=A1": "-7"}


def test_every_table_is_written_by_the_one_function():
    writers = [path for path in (REPOSITORY / "app").rglob("*.py") if "csv.writer" in path.read_text("utf-8")]
    writers += [path for path in (REPOSITORY / "app").rglob("*.py") if "DictWriter" in path.read_text("utf-8")]
    assert writers == [REPOSITORY / "app" / "answer" / "csv_table.py"]
