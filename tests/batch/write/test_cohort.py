import csv
import io

import pyarrow.parquet as pq
import pytest

from app.batch.folder import BatchFolder, BatchSlide
from app.batch.summary import FailedSlide
from app.batch.write.cohort import failures_table, regions_table, slides_table, table_csv, write_cohort
from app.pipeline.tissue.classes import CLASSES
from tests.batch.one_slide import source_and_batch
from tests.batch.sample_slide import analysed_sample, summary_of, summary_with_reference

FAILED = FailedSlide("m", "m.svs", None, "The file is damaged.")


def rows_of(table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table_csv(table).decode(), newline="")))


def test_slide_has_one_row_with_the_values_of_its_summary(example):
    (row,) = slides_table([example.summary], [], 5).to_pylist()
    summary = example.summary
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


def test_measurements_and_reference_are_in_the_tables_with_their_units(example):
    area = next(one for one in example.summary.measurements if one.measurement == "area_um2")
    summary = summary_with_reference(example)
    (row,), (region,) = slides_table([summary], [], 5).to_pylist(), regions_table([summary], 5).to_pylist()
    assert row["median_area_um2"] == area.median > 0
    assert row["mean_area_um2"] == summary.means["area_um2"]
    assert {"median_neighbour_distance_um", "median_haematoxylin_od_mean", "mean_eccentricity"} <= row.keys()
    assert [row[f"reference_{k}"] for k in range(5)] == ["high", None, None, None, None]
    assert (row["within_reference"], row["very_large_nuclei"], row["very_large_nuclei_per_mm2"]) == (False, 3, 1.5)
    assert region["median_area_um2"] == area.median
    assert row["cellularity"] == region["cellularity"] == summary.tissue.cellularity > 0
    assert sum(row[name] for name in CLASSES) == pytest.approx(1)
    assert "false" in table_csv(slides_table([summary], [], 5)).decode().splitlines()[1].split(",")


def test_sizes_in_px_are_in_no_table(example, bundle, sample):
    summary = analysed_sample(sample, bundle, mpp=None).summary
    (row,) = slides_table([summary], [], 5).to_pylist()
    assert (row["median_area_um2"], row["mean_area_um2"], row["median_neighbour_distance_um"]) == (None, None, None)
    assert row["median_eccentricity"] > 0
    assert not any("px" in name for name in row)


def test_failed_slides_have_their_rows_among_the_others(example):
    rows = rows_of(slides_table([summary_of(example, "z"), summary_of(example, "a")], [FAILED], 5))
    assert [(row["slide"], row["status"]) for row in rows] == [("a", "ok"), ("m", "failed"), ("z", "ok")]
    assert rows[1]["error"] == FAILED.reason
    assert {value for name, value in rows[1].items() if name not in ("slide", "file", "status", "error")} == {""}


def test_table_has_the_same_columns_whether_a_slide_was_done_or_not(example):
    assert slides_table([], [FAILED], 5).schema.equals(slides_table([example.summary], [], 5).schema)


def test_every_region_has_a_row_of_its_own_cells(example):
    table = regions_table([summary_of(example, "z"), example.summary], 5)
    assert table["slide"].to_pylist() == ["sample", "z"]
    row = table.to_pylist()[0]
    (region,) = example.summary.regions
    assert (row["region"], row["cells"], row["label"]) == (region.name, region.cells, region.label.value)
    assert [row[f"count_{k}"] for k in range(5)] == [cluster.count for cluster in region.clusters]
    assert row["patient"] == "P-1"


def test_failures_have_their_reasons():
    assert rows_of(failures_table([FAILED])) == [
        {"slide": "m", "file": "m.svs", "patient": "", "error": "The file is damaged."}
    ]


@pytest.mark.parametrize("name", ['Müller, "A"', "two\nlines", "\udcff.svs"])
def test_any_name_can_stand_in_a_table(name):
    (row,) = rows_of(failures_table([FailedSlide("a", name, None, "b")]))
    assert row["file"] == name.replace("\udcff", "\\udcff")


def rows_of_file(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def written(folder, example, bundle, failures):
    batch_folder = BatchFolder(folder)
    _, batch = source_and_batch(folder / "b.svs", bundle)
    sources = [BatchSlide(slide=name, path=f"/s/{name}.svs", regions=None, patient="P-1") for name in ("b", "a", "c")]
    for source in sources:
        if source.slide not in failures:
            batch_folder.results(source.slide).mkdir(parents=True, exist_ok=True)
            batch_folder.summary(source.slide).write_text(summary_of(example, source.slide).model_dump_json())
    write_cohort(batch_folder, batch.model_copy(update={"slides": tuple(sources)}), bundle, failures)
    return folder


def test_tables_and_page_hold_every_slide_with_results_or_a_reason(tmp_path, example, bundle):
    folder = written(tmp_path, example, bundle, {"a": "No tissue was found."})
    assert contents(folder).keys() == {
        "slides.csv",
        "slides.parquet",
        "regions.csv",
        "failures.csv",
        "proportions.png",
        "index.html",
    }
    slides = rows_of_file(folder / "slides.csv")
    assert {row["slide"] for row in slides} == {"a", "b", "c"}
    assert len(slides) == pq.read_table(folder / "slides.parquet").num_rows
    assert [(row["slide"], row["error"]) for row in rows_of_file(folder / "failures.csv")] == [
        ("a", "No tissue was found.")
    ]
    assert {row["slide"] for row in rows_of_file(folder / "regions.csv")} == {"b", "c"}
    assert "No tissue was found." in (folder / "index.html").read_text(encoding="utf-8")


def test_same_summaries_are_the_same_bytes(tmp_path, example, bundle):
    first = contents(written(tmp_path, example, bundle, {"a": "It is not a slide."}))
    assert contents(written(tmp_path, example, bundle, {"a": "It is not a slide."})) == first


def test_batch_in_which_every_slide_failed_has_its_reasons(tmp_path, example, bundle):
    folder = written(tmp_path, example, bundle, dict.fromkeys("abc", "It is not a slide."))
    assert len(rows_of_file(folder / "failures.csv")) == 3
    assert rows_of_file(folder / "regions.csv") == []
