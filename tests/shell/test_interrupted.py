"""Runs that do not go to their end, and what is seen of one."""

import io
import shutil
import sys

import pytest

from app.settings import Settings
from app.shell import outputs
from app.shell.analyze import TileRequest, analyze_tiles
from tests.shell.runs import analyze, listing, summary_of


def test_progress_is_shown_on_a_terminal_only(here, tiles, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stderr, stdout = Terminal(), io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    names = [str(tiles / name) for name in ("one.png", "text.png", "two.v2.tif")]
    assert not analyze_tiles(
        names, Settings(), ["json"], out=here, bundle=None, mpp=None, precision="fast", nuclei=None
    )
    message = stderr.getvalue()
    assert "3 of 3" in message
    assert "two.v2.tif" in message
    assert f"{tiles / 'text.png'}: " in message
    written = stdout.buffer.getvalue().decode()
    assert written.splitlines() == [str(here / "one.json"), str(here / "two.v2.json")]


@pytest.fixture
def interrupted(monkeypatch):
    """Ctrl-C while the second tile is analysed."""
    answer, seen = TileRequest.answer, []

    def interrupt(request, tile):
        seen.append(tile)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return answer(request, tile)

    monkeypatch.setattr(TileRequest, "answer", interrupt)


def test_interrupted_run_keeps_what_is_done_and_its_summary(here, tiles, interrupted):
    result = analyze(tiles / "one.png", tiles / "two.v2.tif", tiles / "text.png", status=130)
    assert result.stdout == "one.json\n"
    assert result.stderr == "1 of 3 tiles analysed, 0 failed; see summary.csv\n"
    assert listing(here) == ["one.json", "summary.csv"]
    assert [row["status"] for row in summary_of(here)] == ["ok"]


def test_answer_that_cannot_be_written_ends_the_run_and_leaves_nothing_half_done(here, tiles):
    (here / "one.csv").mkdir()
    names = [tiles / name for name in ("two.v2.tif", "one.png", "text.png")]
    result = analyze(*names, "-f", "json", "-f", "csv", "--out", here, status=1)
    message, last = result.stderr.splitlines()
    assert message.startswith(f"{tiles / 'one.png'}: {here / 'one.csv'} cannot be written: ")
    assert last == f"1 of 3 tiles analysed, 1 failed; see {here / 'summary.csv'}"
    written = ["one.json", "two.v2.csv", "two.v2.json"]
    assert listing(here) == sorted([*written, "summary.csv"])
    assert sorted(result.stdout.splitlines()) == [str(here / name) for name in written]
    rows = summary_of(here)
    assert [row["status"] for row in rows] == ["ok", "failed"]
    assert "one.csv cannot be written" in rows[1]["error"]


def test_full_disk_is_named_for_the_answer_and_for_the_summary(here, tiles, monkeypatch):
    def full(data, target):
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(outputs, "write_whole", full)
    result = analyze(tiles / "one.png", tiles / "two.v2.tif", status=1)
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"{tiles / 'one.png'}: one.json cannot be written: No space left on device",
        "Error: summary.csv cannot be written: No space left on device",
    ]


def test_summary_that_cannot_be_written_is_named_and_the_answers_are_listed(here, tiles):
    (here / "summary.csv").mkdir()
    result = analyze(tiles / "one.png", "-f", "overlay", status=1)
    assert result.stdout == "one.overlay.png\n"
    assert result.stderr.startswith("Error: summary.csv cannot be written: ")


def test_answer_of_too_many_cells_for_its_format_is_a_failed_tile(here, tiles, monkeypatch):
    # Its function hides the module of the same name.
    monkeypatch.setattr(sys.modules["app.answer.label_image"], "MAX_CELLS", 3)
    result = analyze(tiles / "one.png", "-f", "labels", status=1)
    assert "format labels has room for 3 cells" in result.stderr
    assert [row["status"] for row in summary_of(here)] == ["failed"]
    assert listing(here) == ["summary.csv"]


def test_a_name_that_is_too_long_for_an_answer_costs_its_own_tile_alone(here, tiles):
    long = tiles / f"{'a' * 251}.png"
    shutil.copy(tiles / "one.png", long)
    result = analyze(tiles / "one.png", long, tiles / "two.v2.tif", "-f", "geojson", status=1)
    assert [row["status"] for row in summary_of(here)] == ["ok", "failed", "ok"]
    assert summary_of(here)[1]["error"].endswith("cannot be written: File name too long; rename the tile.")
    assert result.stderr.splitlines()[-1] == "2 tiles analysed, 1 failed; see summary.csv"
    assert listing(here) == ["one.geojson", "summary.csv", "two.v2.geojson"]


def test_the_longest_name_that_a_disk_takes_is_written(here, tiles):
    long = tiles / f"{'a' * (255 - len('.overlay.png'))}.png"
    shutil.copy(tiles / "one.png", long)
    analyze(long, "-f", "overlay")
    assert listing(here) == [f"{long.stem}.overlay.png", "summary.csv"]
