import csv
import io
import json
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from app.pipeline.bundle.load import load_bundle
from app.pipeline.run import analyse
from bench.process import descendants
from tests.batch.command import results, run, running, start, wait_for, with_pid
from tests.batch.made_slides import write_pyramid
from tests.conftest import REPOSITORY

SAMPLE = REPOSITORY / "models" / "marrow" / "sample.png"

pytestmark = pytest.mark.slow


def table(path):
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def mirrored_sample(width, height):
    """The sample tile, mirrored at its edges until it fills a slide."""
    with Image.open(SAMPLE) as image:
        pixels = np.asarray(image.convert("RGB"))
    return np.pad(pixels, ((0, height - pixels.shape[0]), (0, width - pixels.shape[1]), (0, 0)), mode="symmetric")


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """A folder with what a laboratory may have in one: a tile, a slide, a white picture, a text with a wrong name."""
    folder = tmp_path_factory.mktemp("slides")
    (folder / "p1").mkdir()
    shutil.copy(SAMPLE, folder / "p1" / "tile.png")
    write_pyramid(folder / "p1" / "slide.tif", mirrored_sample(3000, 2600), compression="deflate")
    Image.new("RGB", (400, 300), "white").save(folder / "white.png")
    (folder / "text.svs").write_text("no slide")
    (folder / "patients.csv").write_text("slide,patient\ntile.png,A\nwhite,B\n")
    return folder


@pytest.fixture(scope="module")
def one_worker(slides, tmp_path_factory):
    """Results of an uninterrupted run on one worker; and what was said."""
    out = tmp_path_factory.mktemp("runs") / "one"
    said = run(slides, "--out", out, "--workers", 1, "--patients", slides / "patients.csv", expected=1)
    return out, said


def test_good_slides_have_results_and_bad_ones_their_reason(one_worker):
    out, (stdout, stderr) = one_worker
    assert stdout.strip() == str(out / "index.html")
    assert "text.svs: " in stderr
    assert "white.png: No tissue was found." in stderr
    assert "2 of 4 slides done, 2 failed" in stderr
    rows = {row["slide"]: row for row in table(out / "slides.csv")}
    assert {slide: (row["status"], row["patient"]) for slide, row in rows.items()} == {
        "p1--slide": ("ok", ""),
        "p1--tile": ("ok", "A"),
        "text": ("failed", ""),
        "white": ("failed", "B"),
    }
    assert [row["slide"] for row in table(out / "failures.csv")] == ["text", "white"]
    progress = json.loads((out / "progress.json").read_bytes())
    assert (progress["state"], progress["slides_done"], progress["slides_failed"]) == ("finished", 2, 2)
    assert progress["tiles"] == progress["tiles_done"] == 5
    assert not list(out.rglob("work"))


def test_a_tile_has_the_cells_and_proportions_that_the_service_gives(one_worker):
    out, _ = one_worker
    bundle = load_bundle(SAMPLE.parent)
    analysis = analyse(SAMPLE.read_bytes(), bundle, max_pixels=10**7)
    cells = pq.read_table(out / "slides" / "p1--tile" / "cells.parquet")
    assert cells["cluster"].to_pylist() == analysis.proportions.clusters.tolist()
    summary = json.loads((out / "slides" / "p1--tile" / "summary.json").read_bytes())
    assert [cluster["count"] for cluster in summary["clusters"]] == analysis.proportions.counts.tolist()
    assert summary["label"]["value"] == analysis.label.value
    assert [flag["code"] for flag in summary["quality"]["flags"]] == [flag.code for flag in analysis.quality.flags]


def test_two_workers_give_the_same_bytes_as_one(slides, one_worker, tmp_path):
    run(slides, "--out", tmp_path / "two", "--workers", 2, "--patients", slides / "patients.csv", expected=1)
    assert results(tmp_path / "two") == results(one_worker[0])


def test_killed_at_any_point_it_goes_on_and_ends_with_the_same_bytes(slides, one_worker, tmp_path):
    out = tmp_path / "killed"
    command = (slides, "--out", out, "--workers", 1, "--patients", slides / "patients.csv")
    moments = (
        lambda: list(out.glob("slides/*/work/plan.json")),
        lambda: list(out.glob("slides/p1--slide/work/tile-000001.parquet")),
        lambda: list(out.glob("slides/p1--slide/cells.parquet")),
    )
    for moment in moments:
        with running(*command) as process:
            wait_for(moment)
            with_pid(process.pid, signal.SIGKILL)
            process.wait()
    parts = {path: path.stat().st_mtime_ns for path in out.glob("slides/*/work/tile-*.parquet")}
    run(*command, expected=1)
    assert results(out) == results(one_worker[0])
    # What was done before was not done again: it was there till the end.
    assert parts or (out / "slides/p1--slide/summary.json").exists()


def test_killed_worker_is_replaced_and_nothing_is_lost(slides, one_worker, tmp_path):
    out = tmp_path / "worker"
    with running(slides, "--out", out, "--workers", 2, "--patients", slides / "patients.csv") as process:
        wait_for(lambda: list(out.glob("slides/p1--slide/work/tile-*.parquet")))
        workers = [
            pid for pid in descendants(process.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        with_pid(workers[0], signal.SIGKILL)
        process.communicate(timeout=240)
        assert process.returncode == 1
    assert results(out) == results(one_worker[0])


def _is_worker(pid):
    return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_same_command_again_does_nothing_but_say_the_same(slides, one_worker):
    out, said = one_worker
    before = {path: path.stat().st_mtime_ns for path in out.glob("slides/*/*")}
    again = run(slides, "--out", out, "--workers", 1, "--patients", slides / "patients.csv", expected=1)
    assert again == said
    assert {path: path.stat().st_mtime_ns for path in out.glob("slides/*/*")} == before


def test_another_run_into_the_same_folder_is_refused(slides, one_worker):
    out, _ = one_worker
    _, stderr = run(slides, "--out", out, "--precision", "full", expected=1)
    assert "other patients" not in stderr
    assert "precision" in stderr


def test_two_at_once_in_one_folder_are_refused(slides, tmp_path):
    out = tmp_path / "both"
    with running(slides, "--out", out, "--workers", 1):
        wait_for(lambda: (out / "progress.json").exists())
        _, stderr = run(slides, "--out", out, "--workers", 1, expected=1)
        assert "Another process is at work" in stderr


def test_termination_leaves_no_process_and_no_half_file(slides, tmp_path):
    out = tmp_path / "stopped"
    with running(slides, "--out", out, "--workers", 1) as process:
        wait_for(lambda: list(out.glob("slides/p1--slide/work/tile-*.parquet")))
        begun = descendants(process.pid)
        with_pid(process.pid, signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGTERM
        wait_for(lambda: not set(begun) & {pid for pid in begun if _is_alive(pid)}, limit_s=20)


def _is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_scheduler_that_is_away_is_named(tmp_path):
    _, stderr = run(SAMPLE, "--out", tmp_path / "away", "--scheduler", "tcp://127.0.0.1:9", expected=1)
    assert "No Dask scheduler answers at tcp://127.0.0.1:9" in stderr


def test_workers_of_a_scheduler_give_the_same_bytes(slides, one_worker, tmp_path):
    dask = [sys.executable, "-m", "dask"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    address = f"tcp://127.0.0.1:{port}"
    scheduler = [*dask, "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]
    worker = [*dask, "worker", address, "--nthreads", "1", "--no-dashboard"]
    command = (slides, "--out", tmp_path / "cluster", "--scheduler", address, "--patients", slides / "patients.csv")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(scheduler, **quiet) as first:
        try:
            _, stderr = run(*command, expected=1)
            assert "has no worker" in stderr
            with subprocess.Popen(worker, cwd=tmp_path, **quiet) as second:
                try:
                    run(*command, expected=1)
                finally:
                    second.terminate()
        finally:
            first.terminate()
    assert results(tmp_path / "cluster") == results(one_worker[0])


def test_full_disk_is_named_and_the_run_goes_on_when_there_is_room(slides, one_worker, tmp_path):
    out = tmp_path / "full"
    command = (slides, "--out", out, "--workers", 1, "--patients", slides / "patients.csv")
    process = start(*command, preexec_fn=_largest_file)
    _, stderr = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "slide.tif: " in stderr
    assert "too large" in stderr
    run(*command, expected=1)
    assert results(out) == results(one_worker[0])


def _largest_file():
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
