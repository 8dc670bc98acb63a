"""`marrowscope analyze --corrections`: types that a person gives to cells of one tile, as over HTTP."""

import json
import shutil

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.api.answers import post_tile, strict_json
from tests.cell_classifiers import taught_values
from tests.shell.runs import analyze, listing, run, summary_of, usage_error
from tests.shell.test_same_bytes import without_what_differs

FORMATS = ("json", "geojson", "csv", "overlay", "labels")
GIVEN = {"pale large": [5], "dark small": [9, 2]}


@pytest.fixture
def lab(here, encoder_bundle, sample, monkeypatch):
    """The current folder with `tile.png`, `given.json`, and a bundle in `models` that knows two types."""
    path = shutil.copytree(encoder_bundle, here / "models" / "seeing") / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8")) | {"cell_classifier": taught_values(threshold=0.6)}
    path.write_text(json.dumps(manifest), encoding="utf-8")
    monkeypatch.setenv("MARROWSCOPE_BUNDLES_DIR", "models")
    monkeypatch.setenv("MARROWSCOPE_BUNDLE", "seeing")
    (here / "tile.png").write_bytes(sample)
    (here / "given.json").write_text(json.dumps(GIVEN), encoding="utf-8")
    return here


def test_every_format_is_in_the_bytes_of_the_service(lab, sample):
    formats = (text for name in FORMATS for text in ("-f", name))
    given = ("--corrections", "given.json", "--reviewer", "A. Smith")
    written = analyze("tile.png", *given, "--out", "answers", *formats).stdout.splitlines()
    with TestClient(create_app(Settings(threads=1)), base_url="http://127.0.0.1") as service:
        plain = post_tile(service, sample).json()
        for name, path in zip(FORMATS, written, strict=True):
            query = {"format": name, "reviewer": "A. Smith", "cells_sha256": plain["cells_sha256"]}
            data = {"corrections": json.dumps(GIVEN)}
            expected = service.post("/analyze", params=query, files={"tile": sample}, data=data).content
            found = (lab / path).read_bytes()
            if name == "json":
                assert strict_json(found)["corrections"] == {"n": 3, "by": "A. Smith"}
                found, expected = without_what_differs(found), without_what_differs(expected)
            assert found == expected, name
    (row,) = summary_of(lab / "answers")
    assert (row["corrected_cells"], row["corrected_by"]) == ("3", "A. Smith")
    analyze("tile.png", "--out", "plain")
    (row,) = summary_of(lab / "plain")
    assert (row["corrected_cells"], row["corrected_by"]) == ("", "")


def test_who_corrects_and_what_is_no_correction(lab):
    answer = strict_json(analyze("tile.png", "--corrections", "given.json").stdout)
    assert (answer["corrections"]["by"], answer["parameters"]["corrections"]) == (
        "reviewer",
        {"dark small": [2, 9], "pale large": [5]},
    )
    plain = strict_json(analyze("tile.png").stdout)
    for nothing in ("{}", '\ufeff{"dark small": []}'):
        (lab / "none.json").write_text(nothing, encoding="utf-8")
        assert (
            strict_json(analyze("tile.png", "--corrections", "none.json").stdout)["result_sha256"]
            == plain["result_sha256"]
        )


def test_corrections_of_other_cells_are_refused(lab):
    looked_at = strict_json(analyze("tile.png").stdout)["cells_sha256"]
    given = ("--corrections", "given.json", "--cells-sha256", looked_at)
    assert strict_json(analyze("tile.png", *given).stdout)["cells_sha256"] == looked_at
    refused = analyze("tile.png", *given, "--mpp", 0.5, status=1)
    assert refused.stdout == ""
    assert refused.stderr.startswith("tile.png: The corrections were made on another answer")
    run("bundle", "name", "1", "small", "--by", "A. Smith")
    assert "the bundle seeing was changed since" in analyze("tile.png", *given, status=1).stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"pale large": [100000]}', "tile.png: There is no cell 100000"),
        ('{"blast": [1]}', "tile.png: The bundle seeing knows no type 'blast'; its types are 'dark small', 'pale"),
    ],
)
def test_corrections_that_do_not_fit_the_tile_or_the_bundle(lab, content, words):
    (lab / "wrong.json").write_text(content, encoding="utf-8")
    refused = analyze("tile.png", "--corrections", "wrong.json", status=1)
    assert refused.stdout == ""
    assert words in refused.stderr


def test_what_cannot_be_corrections_is_refused_before_anything_is_analysed(lab):
    before = listing(lab)
    assert "corrects cells of one tile, and these are 2" in usage_error(
        "analyze", "tile.png", "models/seeing/sample.png", "--corrections", "given.json"
    )
    for content, words in (
        (b"[1]", "wrong.json: corrections must be a JSON object"),
        (b'{"a": [1], "b": [1]}', "wrong.json: corrections name cell 1 both 'a' and 'b'"),
        (b'{"a": [1', "this is not JSON"),
        (b"", "this is not JSON"),
        (b"\xff\xfe{}", "wrong.json: this is not UTF-8"),
    ):
        (lab / "wrong.json").write_bytes(content)
        assert words in usage_error("analyze", "tile.png", "--corrections", "wrong.json")
    (lab / "wrong.json").unlink()
    assert "does not exist" in usage_error("analyze", "tile.png", "--corrections", "absent.json")
    corrected = ("analyze", "tile.png", "--corrections", "given.json")
    assert "--reviewer must have 1 to 80 characters" in usage_error(*corrected, "--reviewer", " ")
    assert "--reviewer belongs to corrections" in usage_error("analyze", "tile.png", "--reviewer", "A. Smith")
    assert "--cells-sha256 belongs to corrections" in usage_error("analyze", "tile.png", "--cells-sha256", "0")
    (lab / "given.json").rename(lab / "tile.json")
    overwritten = usage_error("analyze", "tile.png", "--corrections", "tile.json", "--out", ".")
    assert "is a file of corrections, and would be overwritten" in overwritten
    assert json.loads((lab / "tile.json").read_text(encoding="utf-8")) == GIVEN
    (lab / "tile.json").rename(lab / "given.json")
    assert listing(lab) == before
