import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from app.shell.analyze import SUFFIXES
from app.shell.stages import WIDTH_PX
from tests.api.answers import strict_json
from tests.conftest import REPOSITORY
from tests.drawing import draw_tile, grid_of_centres
from tests.processes import ran
from tests.shell.runs import analyze, listing, run, summary_of, usage_error, words

N_DRAWN = len(grid_of_centres())


def test_real_tile_gives_its_cells_and_its_figure(here, bm_graz):
    tile = bm_graz / "tiles" / "BM_GRAZ_HE_0007_01.png"
    assert len(strict_json(analyze(tile).stdout)["cells"]) > 200
    assert analyze(tile, "--format", "stages").stdout == "BM_GRAZ_HE_0007_01.stages.png\n"
    with Image.open(here / "BM_GRAZ_HE_0007_01.stages.png") as figure:
        assert figure.format == "PNG"
        assert figure.width == WIDTH_PX


def test_out_holds_one_document_per_tile(here, tiles):
    out = here / "new" / "answers"
    result = analyze(tiles / "one.png", tiles / "two.v2.tif", "--out", out)
    assert result.stdout.splitlines() == [str(out / "one.json"), str(out / "two.v2.json")]
    assert listing(out) == ["one.json", "summary.csv", "two.v2.json"]
    for path in out.glob("*.json"):
        assert len(strict_json(path.read_text("utf-8"))["cells"]) == N_DRAWN


def test_one_tile_goes_to_out_when_that_is_given_and_replaces_what_is_there(here, tiles):
    (here / "one.json").write_text("old")
    assert analyze(tiles / "one.png", "--out", here).stdout == f"{here / 'one.json'}\n"
    assert strict_json((here / "one.json").read_text("utf-8"))["cells"]


@pytest.mark.parametrize("format", SUFFIXES)
def test_several_tiles_without_out_are_answered_in_the_current_folder(here, tiles, format):
    result = analyze(tiles / "one.png", tiles / "two.v2.tif", "--format", format)
    written = [f"{stem}{SUFFIXES[format]}" for stem in ("one", "two.v2")]
    assert result.stdout.splitlines() == written
    assert listing(here) == sorted([*written, "summary.csv"])


@pytest.mark.parametrize(("options", "used"), [((), "fast"), (("--precision", "full"), "full")])
def test_precision_is_chosen(here, tiles, options, used):
    answer = strict_json(analyze(tiles / "one.png", *options).stdout)
    assert answer["bundle"]["precision"] == used


def test_scale_of_the_tile_counts(here, tiles):
    Image.fromarray(draw_tile(grid_of_centres()).repeat(2, axis=0).repeat(2, axis=1)).save(tiles / "fine.png")
    answer = strict_json(analyze(tiles / "fine.png", "--mpp", 0.125).stdout)
    assert answer["tile"]["mpp"] == 0.125
    assert len(answer["cells"]) == N_DRAWN


@pytest.mark.parametrize("format", SUFFIXES)
def test_tile_that_cannot_be_read_is_named_and_the_others_go_on(here, tiles, format):
    bad = ["text.png", "deep.png", "empty.png", "absent.png"]
    names = [bad[0], "one.png", *bad[1:], "two.v2.tif"]
    result = analyze(*(tiles / name for name in names), "--format", format, "--out", here, status=1)
    assert listing(here) == sorted(["summary.csv", *(f"{stem}{SUFFIXES[format]}" for stem in ("one", "two.v2"))])
    *lines, last = result.stderr.splitlines()
    assert last == f"2 tiles analysed, 4 failed; see {here / 'summary.csv'}"
    assert [line.split(": ")[0] for line in lines] == [str(tiles / name) for name in bad]
    for line, reason in zip(lines, ("not a PNG", "8 bits", "0 bytes", "No such file"), strict=True):
        assert reason in line
    assert len(result.stdout.splitlines()) == 2


def test_one_tile_in_several_formats_is_a_file_in_each_and_a_row(here, tiles):
    result = analyze(tiles / "one.png", "-f", "csv", "-f", "overlay", "-f", "json", "-f", "csv")
    assert result.stdout.splitlines() == ["one.csv", "one.overlay.png", "one.json"]
    assert result.stderr == "1 tile analysed, 0 failed; see summary.csv\n"
    sums = {strict_json((here / "one.json").read_text("utf-8"))["tile"]["sha256"], summary_of(here)[0]["tile_sha256"]}
    assert len(sums) == len((here / "one.csv").read_text("utf-8").splitlines()) - N_DRAWN == 1


@pytest.mark.parametrize("format", ["json", "geojson", "csv"])
def test_text_of_one_tile_goes_to_stdout_and_is_what_would_be_in_the_file(here, tiles, format):
    printed = analyze(tiles / "one.png", "-f", format).stdout_bytes
    assert listing(here) == []
    analyze(tiles / "one.png", "-f", format, "--out", here)
    written = (here / f"one.{format}").read_bytes()
    assert len(printed) > 1000
    if format == "json":
        printed, written = (
            json.dumps({**json.loads(text), "request_id": 0, "timing_ms": 0}) for text in (printed, written)
        )
    assert printed == written


@pytest.mark.parametrize("given", ["only", "only/*.png"])
def test_folder_or_pattern_of_one_tile_is_answered_in_a_file(here, tiles, given):
    (here / "only").mkdir()
    (tiles / "one.png").rename(here / "only" / "one.png")
    assert analyze(given).stdout == "one.json\n"


def test_folder_keeps_its_sub_folders_and_its_answers_are_not_taken_for_tiles(here, tiles):
    for folder in ("p1", "p2"):
        (here / "patients" / folder).mkdir(parents=True)
        (here / "patients" / folder / "a.png").write_bytes((tiles / "one.png").read_bytes())
    expected = ["p1/a.overlay.png", "p2/a.overlay.png", "summary.csv"]
    analyze("patients", "--out", "answers", "-f", "overlay")
    assert listing(here / "answers") == expected
    for _ in range(2):
        analyze("patients", "--out", "patients", "-f", "overlay")
        assert listing(here / "patients") == sorted([*expected, "p1/a.png", "p2/a.png"])


def test_single_tile_that_cannot_be_read_writes_nothing(here, tiles):
    result = analyze(tiles / "text.png", status=1)
    assert result.stdout == ""
    assert "text.png" in result.stderr


def test_tile_larger_than_the_setting_is_refused(here, tiles, monkeypatch):
    monkeypatch.setenv("MARROWSCOPE_MAX_PIXELS", "1000")
    assert "at most 1000 pixels" in analyze(tiles / "one.png", status=1).stderr


def test_same_stem_twice_is_refused_before_any_work(here, tiles):
    (tiles / "other").mkdir()
    twin = tiles / "other" / "One.tif"
    twin.write_bytes((tiles / "one.png").read_bytes())
    printed = usage_error("analyze", tiles / "two.v2.tif", tiles / "one.png", twin)
    assert f"{tiles / 'one.png'} and {twin} would both be answered in One.json" in printed
    assert "name the folder above both" in printed
    assert listing(here) == []


def test_answer_that_would_overwrite_a_tile_is_refused(here, tiles):
    (tiles / "one.stages.png").write_bytes((tiles / "one.png").read_bytes())
    printed = usage_error("analyze", tiles / "one.png", tiles / "one.stages.png", "--format", "stages", "--out", tiles)
    assert "would be overwritten" in printed
    assert listing(here) == []


@pytest.mark.parametrize("name", ["summary.png", "SUMMARY.tif"])
def test_answer_that_would_overwrite_the_summary_is_refused(here, tiles, name):
    (tiles / "one.png").rename(tiles / name)
    printed = usage_error("analyze", tiles / name, "-f", "csv", "--out", here)
    assert f"the answer of {tiles / name} and the summary of all tiles would both be {here}" in printed
    assert listing(here) == []


def test_table_of_somebody_else_is_not_replaced_by_the_summary(here, tiles):
    (here / "summary.csv").write_text("patient,blasts\nP1,0.2\n")
    assert "summary.csv was not written by marrowscope" in usage_error("analyze", tiles / "one.png", "-f", "overlay")
    assert (here / "summary.csv").read_text() == "patient,blasts\nP1,0.2\n"
    assert listing(here) == ["summary.csv"]


@pytest.mark.parametrize("given", ["*.png", "nothing"])
def test_pattern_or_folder_without_a_tile_is_a_usage_error(here, tiles, given):
    (here / "nothing").mkdir()
    assert f"{given}." in usage_error("analyze", tiles / "one.png", given)
    assert listing(here) == []


@pytest.mark.parametrize("mpp", ["0", "-1", "9", "nan", "fine"])
def test_scale_that_no_microscope_has_is_a_usage_error(here, tiles, mpp):
    assert "mpp" in usage_error("analyze", tiles / "one.png", tiles / "two.v2.tif", "--mpp", mpp)
    assert listing(here) == []


def test_unknown_format_is_a_usage_error_that_names_the_known_ones(here, tiles):
    printed = usage_error("analyze", tiles / "one.png", "--format", "bmp")
    assert "not one of" in printed
    assert all(f"'{format}'" in printed for format in SUFFIXES)


def test_unknown_bundle_is_a_usage_error_that_names_the_known_ones(here, tiles):
    printed = usage_error("analyze", tiles / "one.png", "--bundle", "../marrow")
    assert "'../marrow'" in printed
    assert "the bundles are: marrow" in printed


def test_bundle_that_cannot_be_used_says_why(here, tiles, tmp_path, monkeypatch):
    (tmp_path / "models" / "broken").mkdir(parents=True)
    (tmp_path / "models" / "broken" / "manifest.json").write_text("{}")
    monkeypatch.setenv("MARROWSCOPE_BUNDLES_DIR", str(tmp_path / "models"))
    assert "broken/manifest.json is malformed" in analyze(tiles / "one.png", "--bundle", "broken", status=1).stderr


def test_setting_that_is_not_valid_is_named(here, tiles, monkeypatch):
    monkeypatch.setenv("MARROWSCOPE_MAX_PIXELS", "many")
    assert "MARROWSCOPE_MAX_PIXELS" in usage_error("analyze", tiles / "one.png")


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    ("command", "examples"),
    [
        ([], ["marrowscope analyze tile.png -f overlay   # see the cells: tile.overlay.png"]),
        (["analyze"], ["marrowscope analyze tile.png > tile.json", "overlay   the tile with the outlines in the"]),
        (["prototypes"], ["marrowscope prototypes 2 --n 64 --seed 7 --out many.png"]),
        (["serve"], ["marrowscope serve --host 0.0.0.0   # for other machines too, with keys"]),
    ],
)
def test_help_teaches_by_example_in_lines_that_are_not_broken(columns, command, examples):
    lines = [line.strip() for line in run(*command, "--help", columns=columns).stdout.splitlines()]
    assert max(map(len, lines)) <= columns
    for example in examples:
        assert any(line.startswith(example) for line in lines)
    # What was broken would stand alone on its line.
    assert not [line for line in lines if line and line[0] not in "╭│╰" and len(line.split()) == 1 and line[-1] != ":"]


def test_help_names_every_format():
    printed = words(analyze("--help").stdout)
    assert all(f" {name} " in printed for name in SUFFIXES)


def in_a_process(code):
    done = ran([sys.executable, "-c", code], cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_other_commands_do_not_wait_for_its_imports():
    loaded = in_a_process("import json, sys, app.__main__; print(json.dumps(sorted(sys.modules)))")
    assert not {"app.shell.analyze", "app.settings", "numpy", "cv2", "PIL", "fastapi"} & set(loaded)
    served = in_a_process("import json, sys, app.main; print(json.dumps(sorted(sys.modules)))")
    assert not {"app.shell.analyze", "app.shell.stages", "PIL.ImageFont", "rich"} & set(served)


SQUARE = b'{"geometry":{"type":"Polygon","coordinates":[[[50,60],[70,60],[70,80],[50,80],[50,60]]]}}'


def test_folder_of_nuclei_has_those_of_each_tile_and_a_tile_without_is_named(here, tiles):
    nuclei = here / "nuclei"
    nuclei.mkdir()
    (nuclei / "one.geojson").write_bytes(SQUARE)
    numbers = np.zeros((200, 240), np.uint8)
    numbers[60:80, 50:70] = 9
    Image.fromarray(numbers).save(nuclei / "two.v2.png")
    shutil.copy(tiles / "one.png", tiles / "three.png")
    shutil.copy(tiles / "one.png", tiles / "four.png")
    for name in ("four.geojson", "four.json"):
        (nuclei / name).write_bytes(SQUARE)
    given = [tiles / name for name in ("one.png", "two.v2.tif", "three.png", "four.png")]
    result = analyze(*given, "--nuclei", nuclei, "--out", "answers", status=1)
    for name, method in (("one", "geojson"), ("two.v2", "label_image")):
        answer = strict_json((here / "answers" / f"{name}.json").read_text("utf-8"))
        assert [cell["bbox"] for cell in answer["cells"]] == [[50, 60, 70, 80]]
        assert answer["segmentation"]["method"] == method
    rows = summary_of(here / "answers")
    assert [row["segmentation_source"] for row in rows] == ["upload", "upload", "", ""]
    assert f"{tiles / 'three.png'}: There are no nuclei for it: {nuclei} has no three.geojson" in result.stderr
    assert f"{tiles / 'four.png'}: It has several files of nuclei" in result.stderr


def test_nuclei_in_the_folder_of_the_tiles_are_not_the_tile_itself_and_are_never_overwritten(here, tiles):
    (tiles / "one.geojson").write_bytes(SQUARE)
    assert len(strict_json(analyze(tiles / "one.png", "--nuclei", tiles).stdout)["cells"]) == 1
    refused = usage_error("analyze", tiles / "one.png", "--nuclei", tiles, "--out", tiles, "-f", "geojson")
    assert "one.geojson is a file of nuclei, and would be overwritten" in refused
    assert (tiles / "one.geojson").read_bytes() == SQUARE


def test_one_file_of_nuclei_is_for_one_tile(here, tiles):
    (here / "n.geojson").write_bytes(SQUARE)
    refused = usage_error("analyze", tiles / "one.png", tiles / "two.v2.tif", "--nuclei", "n.geojson")
    assert "n.geojson is one file for 2 tiles; name a folder" in refused
    assert "does not exist" in usage_error("analyze", tiles / "one.png", "--nuclei", "gone.geojson")
