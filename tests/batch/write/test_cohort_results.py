import csv

import pyarrow.parquet as pq

from app.batch.folder import RunFolder, SlideEntry
from app.batch.write.cohort_results import write_cohort
from tests.batch.made_run import entry_and_run
from tests.batch.made_summary import renamed


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def written(folder, made, bundle, failures):
    at = RunFolder(folder)
    _, run = entry_and_run(folder / "b.svs", bundle)
    entries = [SlideEntry(slide=name, path=f"/s/{name}.svs", regions=None, patient="P-1") for name in ("b", "a", "c")]
    for entry in entries:
        if entry.slide not in failures:
            at.slide(entry.slide).mkdir(parents=True, exist_ok=True)
            at.summary(entry.slide).write_text(renamed(made, entry.slide).model_dump_json())
    write_cohort(at, run.model_copy(update={"slides": tuple(entries)}), bundle, failures)
    return folder


def test_tables_and_page_hold_every_slide_with_results_or_a_reason(tmp_path, made, bundle):
    folder = written(tmp_path, made, bundle, {"a": "No tissue was found."})
    assert contents(folder).keys() == {
        "slides.csv",
        "slides.parquet",
        "regions.csv",
        "failures.csv",
        "proportions.png",
        "index.html",
    }
    slides = rows(folder / "slides.csv")
    assert {row["slide"] for row in slides} == {"a", "b", "c"}
    assert len(slides) == pq.read_table(folder / "slides.parquet").num_rows
    assert [(row["slide"], row["error"]) for row in rows(folder / "failures.csv")] == [("a", "No tissue was found.")]
    assert {row["slide"] for row in rows(folder / "regions.csv")} == {"b", "c"}
    assert "No tissue was found." in (folder / "index.html").read_text(encoding="utf-8")


def test_same_summaries_are_the_same_bytes(tmp_path, made, bundle):
    first = contents(written(tmp_path, made, bundle, {"a": "It is no slide."}))
    assert contents(written(tmp_path, made, bundle, {"a": "It is no slide."})) == first


def test_run_in_which_every_slide_failed_has_its_reasons(tmp_path, made, bundle):
    folder = written(tmp_path, made, bundle, dict.fromkeys("abc", "It is no slide."))
    assert len(rows(folder / "failures.csv")) == 3
    assert rows(folder / "regions.csv") == []
