"""Slides whose names a disk takes and a program may stumble over: not UTF-8, and as long as names may be."""

import csv
import io
import json
import os
import shutil

import pytest

from tests.batch.run.command import run
from tests.conftest import REPOSITORY

SAMPLE = REPOSITORY / "models" / "marrow" / "sample.png"
LONG = "a" * 251 + ".png"
NOT_UTF8 = "bad\udcff.png"
REASON = "Its path holds bytes that are not UTF-8, shown here as escapes: rename the file or its folder."

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The results of a folder with one slide of each kind of name."""
    folder = tmp_path_factory.mktemp("names")
    slides = folder / "slides"
    slides.mkdir()
    try:
        for name in (LONG, NOT_UTF8, "good.png"):
            shutil.copy(SAMPLE, slides / name)
    except OSError as error:
        pytest.skip(f"this disk does not take such names: {error.strerror}")
    _, stderr = run(slides, "--out", folder / "out", "--workers", 1, expected=1)
    assert f"bad\\udcff.png: {REASON}" in stderr
    assert "2 of 3 slides done, 1 failed" in stderr
    return folder / "out"


def test_a_name_that_is_not_utf8_costs_its_own_slide_and_no_other(out):
    table = (out / "slides.csv").read_bytes().decode("utf-8")
    rows = {row["file"]: row for row in csv.DictReader(io.StringIO(table, newline=""))}
    assert {name: row["status"] for name, row in rows.items()} == {
        LONG: "ok",
        "bad\\udcff.png": "failed",
        "good.png": "ok",
    }
    assert rows["bad\\udcff.png"]["error"] == REASON


def test_everything_that_is_written_is_valid_utf8(out):
    for name in ("manifest.json", "progress.json", "failures.csv", "index.html"):
        (out / name).read_bytes().decode("utf-8")
    progress = json.loads((out / "progress.json").read_bytes())
    assert progress["failures"] == [{"slide": "bad\\udcff", "reason": REASON}]
    for path in out.rglob("*"):
        os.fsencode(path).decode("utf-8")


def test_a_long_name_has_results_under_a_shorter_one(out):
    (folder,) = (path for path in (out / "slides").iterdir() if path.name != "good")
    assert len(folder.name) == 200
    assert json.loads((folder / "summary.json").read_bytes())["file"] == LONG
