import pytest

from app.jobs.folder import result_file, result_files

RESULTS = [
    "index.html",
    "slides.csv",
    "slides/a.b c/cells.geojson.gz",
    "slides/a.b c/report.html",
    "slides/work/cells.parquet",
]
OTHERS = [
    "manifest.json",
    "progress.json",
    ".lock",
    ".unfinished-123-0f-slides.csv",
    "slides/.a/report.html",
    "slides/c/work/plan.json",
    "slides/c/work/deep/tile-000001.parquet",
]


@pytest.fixture
def folder(tmp_path):
    for name in [*RESULTS, *OTHERS]:
        path = tmp_path / "results" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1234")
    (tmp_path / "patients.csv").write_bytes(b"slide,patient")
    (tmp_path / "results" / "link.csv").symlink_to(tmp_path / "patients.csv")
    (tmp_path / "results" / "linked").symlink_to(tmp_path)
    return tmp_path


def test_results_are_listed_with_the_report_first(folder):
    found = result_files(folder)
    assert [file.name for file in found] == RESULTS
    assert {file.bytes for file in found} == {4}
    assert found[2].media_type == "application/gzip"
    assert result_files(folder / "nothing") == []


def test_what_is_listed_can_be_had_and_nothing_else(folder):
    for name in RESULTS:
        assert result_file(folder, name) == folder / "results" / name
    elsewhere = ["link.csv", "linked/patients.csv", "../patients.csv", "slides/../slides.csv", "/slides.csv", "slides"]
    for name in [
        *OTHERS,
        *elsewhere,
        "",
        ".",
        "slides//a.b c/report.html",
        "slides.csv/",
        "slides\\x",
        "a\0b",
        "nothing",
    ]:
        assert result_file(folder, name) is None, name
