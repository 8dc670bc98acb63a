import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from app.__main__ import cli
from app.pipeline.figure import WIDTH_PX
from app.shell import SUFFIXES
from tests.api.answers import strict_json
from tests.conftest import REPOSITORY
from tests.drawing import draw_tile, encoded, grid_of_centres

N_DRAWN = len(grid_of_centres())


def run(*arguments, status=0):
    result = CliRunner().invoke(cli, ["analyze", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current directory, and one thread."""
    monkeypatch.setenv("MARROWSCOPE_THREADS", "1")
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def tiles(tmp_path):
    """Folder with two tiles that are analysed, and three that cannot be."""
    folder = tmp_path / "tiles"
    folder.mkdir()
    (folder / "one.png").write_bytes(encoded(draw_tile(grid_of_centres())))
    (folder / "two.v2.tif").write_bytes(encoded(draw_tile(grid_of_centres(), seed=1), "TIFF"))
    (folder / "text.png").write_text("not an image")
    (folder / "deep.png").write_bytes(encoded(Image.fromarray(np.zeros((4, 4), np.uint16))))
    (folder / "folder.png").mkdir()
    return folder


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def without_what_differs(answer):
    return {key: value for key, value in answer.items() if key not in {"request_id", "timing_ms"}}


def test_one_tile_gives_on_stdout_what_the_service_answers(here, shipped_bundle):
    from starlette.testclient import TestClient

    from app.main import create_app
    from app.settings import Settings
    from tests.api.answers import post_tile

    tile = shipped_bundle / "sample.png"
    result = run(tile)
    found = strict_json(result.stdout)
    with TestClient(create_app(Settings(threads=1))) as client:
        expected = post_tile(client, tile.read_bytes()).json()
    assert without_what_differs(found) == without_what_differs(expected)
    assert list(found) == list(expected)
    assert re.fullmatch("[0-9a-f]{32}", found["request_id"])
    assert found["request_id"] != expected["request_id"]
    assert found["cells"]
    assert result.stderr == ""
    assert listing(here) == []


def test_real_tile_gives_its_cells_and_its_figure(here, bm_graz):
    tile = bm_graz / "tiles" / "BM_GRAZ_HE_0007_01.png"
    assert len(strict_json(run(tile).stdout)["cells"]) > 200
    assert run(tile, "--format", "stages").stdout == "BM_GRAZ_HE_0007_01.stages.png\n"
    with Image.open(here / "BM_GRAZ_HE_0007_01.stages.png") as figure:
        assert figure.format == "PNG"
        assert figure.width == WIDTH_PX


def test_out_holds_one_document_per_tile(here, tiles):
    out = here / "new" / "answers"
    result = run(tiles / "one.png", tiles / "two.v2.tif", "--out", out)
    assert result.stdout.splitlines() == [str(out / "one.json"), str(out / "two.v2.json")]
    assert listing(out) == ["one.json", "two.v2.json"]
    for path in out.iterdir():
        assert len(strict_json(path.read_text("utf-8"))["cells"]) == N_DRAWN


def test_one_tile_goes_to_out_when_that_is_given_and_replaces_what_is_there(here, tiles):
    (here / "one.json").write_text("old")
    assert run(tiles / "one.png", "--out", here).stdout == f"{here / 'one.json'}\n"
    assert strict_json((here / "one.json").read_text("utf-8"))["cells"]


@pytest.mark.parametrize("format", SUFFIXES)
def test_several_tiles_without_out_are_answered_in_the_current_folder(here, tiles, format):
    result = run(tiles / "one.png", tiles / "two.v2.tif", "--format", format)
    assert result.stdout.splitlines() == listing(here) == [f"{stem}{SUFFIXES[format]}" for stem in ("one", "two.v2")]


@pytest.mark.parametrize(("options", "used"), [((), "fast"), (("--precision", "full"), "full")])
def test_precision_is_chosen(here, tiles, options, used):
    answer = strict_json(run(tiles / "one.png", *options).stdout)
    assert answer["bundle"]["precision"] == used


def test_scale_of_the_tile_counts(here, tiles):
    Image.fromarray(draw_tile(grid_of_centres()).repeat(2, axis=0).repeat(2, axis=1)).save(tiles / "fine.png")
    answer = strict_json(run(tiles / "fine.png", "--mpp", 0.125).stdout)
    assert answer["tile"]["mpp"] == 0.125
    assert len(answer["cells"]) == N_DRAWN


@pytest.mark.parametrize("format", SUFFIXES)
def test_tile_that_cannot_be_read_is_named_and_the_others_go_on(here, tiles, format):
    bad = ["text.png", "deep.png", "folder.png", "absent.png"]
    names = [bad[0], "one.png", *bad[1:], "two.v2.tif"]
    result = run(*(tiles / name for name in names), "--format", format, "--out", here, status=1)
    assert listing(here) == [f"{stem}{SUFFIXES[format]}" for stem in ("one", "two.v2")]
    lines = result.stderr.splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(tiles / name) for name in bad]
    for line, reason in zip(lines, ("not a PNG", "8 bits", "directory", "No such file"), strict=True):
        assert reason in line
    assert len(result.stdout.splitlines()) == 2


def test_single_tile_that_cannot_be_read_writes_nothing(here, tiles):
    result = run(tiles / "text.png", status=1)
    assert result.stdout == ""
    assert "text.png" in result.stderr


def test_tile_larger_than_the_setting_is_refused(here, tiles, monkeypatch):
    monkeypatch.setenv("MARROWSCOPE_MAX_PIXELS", "1000")
    assert "at most 1000 pixels" in run(tiles / "one.png", status=1).stderr


def usage_error(*arguments):
    """The words of a usage error, without the frame round them."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", run(*arguments, status=2).stderr).split())


def test_same_stem_twice_is_refused_before_any_work(here, tiles):
    (tiles / "other").mkdir()
    twin = tiles / "other" / "One.tif"
    twin.write_bytes((tiles / "one.png").read_bytes())
    for tile in (twin, tiles / "one.png"):
        assert "both be answered in" in usage_error(tiles / "two.v2.tif", tiles / "one.png", tile)
    assert listing(here) == []


def test_answer_that_would_overwrite_a_tile_is_refused(here, tiles):
    (tiles / "one.stages.png").write_bytes((tiles / "one.png").read_bytes())
    said = usage_error(tiles / "one.png", tiles / "one.stages.png", "--format", "stages", "--out", tiles)
    assert "would be overwritten" in said
    assert listing(here) == []


@pytest.mark.parametrize("mpp", ["0", "-1", "9", "nan", "fine"])
def test_scale_that_no_microscope_has_is_a_usage_error(here, tiles, mpp):
    assert "mpp" in usage_error(tiles / "one.png", tiles / "two.v2.tif", "--mpp", mpp)
    assert listing(here) == []


def test_unknown_format_is_a_usage_error_that_names_the_known_ones(here, tiles):
    said = usage_error(tiles / "one.png", "--format", "geojson")
    assert "not one of" in said
    assert all(f"'{format}'" in said for format in SUFFIXES)


def test_unknown_bundle_is_a_usage_error_that_names_the_known_ones(here, tiles):
    said = usage_error(tiles / "one.png", "--bundle", "../marrow")
    assert "'../marrow'" in said
    assert "the bundles are: marrow" in said


def test_bundle_that_cannot_be_used_says_why(here, tiles, tmp_path, monkeypatch):
    (tmp_path / "models" / "broken").mkdir(parents=True)
    (tmp_path / "models" / "broken" / "manifest.json").write_text("{}")
    monkeypatch.setenv("MARROWSCOPE_BUNDLES_DIR", str(tmp_path / "models"))
    assert "broken/manifest.json is malformed" in run(tiles / "one.png", "--bundle", "broken", status=1).stderr


def test_setting_that_is_not_valid_is_named(here, tiles, monkeypatch):
    monkeypatch.setenv("MARROWSCOPE_MAX_PIXELS", "many")
    assert "MARROWSCOPE_MAX_PIXELS" in usage_error(tiles / "one.png")


def test_answer_that_cannot_be_written_leaves_nothing_behind(here, tiles):
    (here / "one.json").mkdir()
    assert "one.json" in run(tiles / "one.png", "--out", here, status=1).stderr
    assert listing(here) == ["one.json"]


def test_help_teaches_by_example():
    said = run("--help").stdout
    assert "marrowscope analyze tile.png > tile.json" in said
    assert "--format stages" in said


def in_a_process(code):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return json.loads(ended.stdout)


def test_other_commands_do_not_wait_for_its_imports():
    loaded = in_a_process("import json, sys, app.__main__; print(json.dumps(sorted(sys.modules)))")
    assert not {"app.shell", "app.settings", "numpy", "cv2", "PIL", "fastapi"} & set(loaded)
    served = in_a_process("import json, sys, app.main; print(json.dumps(sorted(sys.modules)))")
    assert not {"app.shell", "app.pipeline.stages", "PIL.ImageFont", "rich"} & set(served)


def test_progress_is_shown_on_a_terminal_only(here, tiles, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    from app import shell
    from app.settings import Settings

    stderr, stdout = Terminal(), io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setenv("TERM", "xterm")
    names = [tiles / "one.png", tiles / "text.png", tiles / "two.v2.tif"]
    assert not shell.analyze(names, Settings(), "json", out=here, bundle=None, mpp=None, precision="fast")
    assert "100%" in stderr.getvalue()
    assert f"{tiles / 'text.png'}: " in stderr.getvalue()
    written = stdout.buffer.getvalue().decode()
    assert written.splitlines() == [str(here / "one.json"), str(here / "two.v2.json")]
