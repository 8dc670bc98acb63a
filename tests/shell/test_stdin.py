"""A tile from standard input: `cat tile.png | marrowscope analyze -`."""

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from app.__main__ import cli
from tests.api.answers import strict_json
from tests.conftest import REPOSITORY
from tests.processes import ended, started
from tests.shell.runs import listing, summary_of, usage_error

ANALYZE = [sys.executable, "-m", "app", "analyze"]


def piped(data, *arguments, status=0):
    result = CliRunner().invoke(cli, ["analyze", *map(str, arguments)], input=data, catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result


def without_ids(answer):
    return {**strict_json(answer.decode()), "request_id": None, "timing_ms": None}


def test_tile_from_a_pipe_has_the_answer_of_its_file(here, tiles):
    data = (tiles / "one.png").read_bytes()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with started([*ANALYZE, "-"], cwd=here, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, **pipes) as process:
        process.stdin.write(data)
        process.stdin.close()
        process.stdin = None
        done = ended(process)
    assert (done.returncode, done.stderr) == (0, b"")
    assert without_ids(done.stdout) == without_ids(piped(b"", tiles / "one.png").stdout_bytes)
    assert listing(here) == []


@pytest.mark.parametrize("options", [("-f", "overlay", "-f", "csv"), ("--out", ".", "-f", "overlay", "-f", "csv")])
def test_its_files_are_named_stdin(here, tiles, options):
    printed = piped((tiles / "one.png").read_bytes(), "-", *options)
    assert printed.stdout.splitlines() == ["stdin.overlay.png", "stdin.csv"]
    assert listing(here) == ["stdin.csv", "stdin.overlay.png", "summary.csv"]
    assert [(row["tile"], row["status"]) for row in summary_of(here)] == [("stdin", "ok")]


def test_it_stands_among_other_tiles_and_is_read_once(here, tiles):
    piped((tiles / "one.png").read_bytes(), tiles / "two.v2.tif", "-", tiles / "one.png", "-")
    rows = summary_of(here)
    assert [row["tile"] for row in rows] == [str(tiles / "two.v2.tif"), "stdin", str(tiles / "one.png")]
    assert [row["status"] for row in rows] == ["ok"] * 3
    assert rows[1]["tile_sha256"] == rows[2]["tile_sha256"] != rows[0]["tile_sha256"]


@pytest.mark.parametrize("name", ["./-", "stdin"])
def test_file_of_such_a_name_is_read_itself(here, tiles, name):
    (here / name).write_bytes((tiles / "one.png").read_bytes())
    assert strict_json(piped(b"", name).stdout)["cells"]


def test_empty_standard_input_is_said_and_the_others_go_on(here, tiles):
    assert "stdin: Nothing came on standard input" in piped(b"", "-", status=1).stderr
    assert listing(here) == []
    piped(b"", "-", tiles / "one.png", status=1)
    assert [(row["tile"], row["status"]) for row in summary_of(here)] == [
        ("stdin", "failed"),
        (str(tiles / "one.png"), "ok"),
    ]


def test_bytes_that_are_no_picture_are_said(here):
    assert "stdin: The upload is not a PNG, JPEG or TIFF image." in piped(b"text", "-", status=1).stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_terminal_is_not_waited_for(here):
    ours, theirs = os.openpty()
    try:
        pipes = {"stdin": theirs, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"}
        with started([*ANALYZE, "-"], cwd=here, env=environment, **pipes) as process:
            done = ended(process)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 2
    assert b"- reads a tile from standard input, and none is sent" in done.stderr


def test_slide_cannot_come_from_standard_input(here):
    assert "a slide cannot be read from standard input" in usage_error("batch", "-", "--out", here / "out")
