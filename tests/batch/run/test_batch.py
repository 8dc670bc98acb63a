import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from distributed import Client
from PIL import Image

from app.pipeline.bundle.load import load_bundle
from app.pipeline.run import analyse
from bench.process import descendants
from tests.batch.read.drawn_slides import write_pyramid
from tests.batch.run.command import LIMIT_S, results, run, running
from tests.conftest import REPOSITORY
from tests.processes import ended, send, started, wait_until_gone, workers_of
from tests.waiting import PATIENCE_S, until

SAMPLE = REPOSITORY / "models" / "marrow" / "sample.png"
IMPATIENT = {**os.environ, "MARROWSCOPE_SCHEDULER_PATIENCE_S": "0"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


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
    write_pyramid(folder / "p1" / "slide.tif", mirrored_sample(2600, 1400), compression="deflate")
    Image.new("RGB", (400, 300), "white").save(folder / "white.png")
    (folder / "text.svs").write_text("no slide")
    (folder / "patients.csv").write_text("slide,patient\ntile.png,A\nwhite,B\n")
    return folder


@pytest.fixture(scope="module")
def one_worker(slides, tmp_path_factory):
    """The folder of an uninterrupted batch on one worker, and what the command printed."""
    out = tmp_path_factory.mktemp("runs") / "one"
    printed = run(slides, "--out", out, "--workers", 1, "--patients", slides / "patients.csv", expected=1)
    return out, printed


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
    assert progress["tiles"] == progress["tiles_done"] == 3
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
            # If the moment passes unseen, the batch ends, and its files must be the same all the more.
            until(lambda: moment() or process.poll() is not None, LIMIT_S)  # noqa: B023
    run(*command, expected=1)
    assert results(out) == results(one_worker[0])


def test_killed_worker_is_replaced_and_nothing_is_lost(slides, one_worker, tmp_path):
    out = tmp_path / "worker"
    with running(slides, "--out", out, "--workers", 2, "--patients", slides / "patients.csv") as process:
        until(lambda: list(out.glob("slides/p1--slide/work/tile-*.parquet")), LIMIT_S)
        send(workers_of(process.pid)[0], signal.SIGKILL)
        assert ended(process, LIMIT_S).returncode == 1
    assert results(out) == results(one_worker[0])


def test_same_command_again_changes_nothing_and_prints_the_same(slides, one_worker):
    out, printed = one_worker
    before = {path: path.stat().st_mtime_ns for path in out.glob("slides/*/*")}
    again = run(slides, "--out", out, "--workers", 1, "--patients", slides / "patients.csv", expected=1)
    assert again == printed
    assert {path: path.stat().st_mtime_ns for path in out.glob("slides/*/*")} == before


def test_another_batch_into_the_same_folder_is_refused(slides, one_worker):
    out, _ = one_worker
    _, stderr = run(slides, "--out", out, "--precision", "full", expected=1)
    assert "differs in precision, patients:" in stderr


def test_slide_and_patients_that_changed_are_named_and_the_slide_is_analysed_anew(tmp_path):
    tiles, out, patients = tmp_path / "tiles", tmp_path / "out", tmp_path / "patients.csv"
    tiles.mkdir()
    pixels = mirrored_sample(600, 600)
    for name in ("a", "b"):
        Image.fromarray(pixels).save(tiles / f"{name}.png")
    command = (tiles, "--workers", 1, "--patients", patients)
    patients.write_text("slide,patient\na,A\nb,A\n")
    run(*command, "--out", out)
    Image.fromarray(pixels[::-1]).save(tiles / "b.png")
    patients.write_text("slide,patient\na,A\nb,B\n")
    _, stderr = run(*command, "--out", out)
    assert f"{tiles / 'b.png'}: Its file and its patient changed, so its earlier results were discarded." in stderr
    assert "a.png" not in stderr
    changes = json.loads((out / "progress.json").read_bytes())["changes"]
    assert [change["slide"] for change in changes] == ["b"]
    assert [row["patient"] for row in table(out / "slides.csv")] == ["A", "B"]
    run(*command, "--out", tmp_path / "fresh")
    assert results(out / "slides") == results(tmp_path / "fresh" / "slides")
    assert (out / "slides.csv").read_bytes() == (tmp_path / "fresh" / "slides.csv").read_bytes()


def test_bundle_without_the_fast_network_is_named_with_the_full_one(tmp_path):
    bundle = tmp_path / "bundles" / "marrow"
    shutil.copytree(SAMPLE.parent, bundle)
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    del manifest["fast"], manifest["files"]["q_fast.onnx"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    environment = {**os.environ, "MARROWSCOPE_BUNDLES_DIR": str(bundle.parent)}
    run(SAMPLE, "--out", tmp_path / "out", "--workers", 1, env=environment)
    assert [row["precision"] for row in table(tmp_path / "out" / "slides.csv")] == ["full"]


def test_two_at_once_in_one_folder_are_refused(slides, tmp_path):
    out = tmp_path / "both"
    with running(slides, "--out", out, "--workers", 1) as process:
        until(lambda: (out / "progress.json").exists(), LIMIT_S)
        send(process.pid, signal.SIGSTOP)  # so that it cannot end before the second one begins
        _, stderr = run(slides, "--out", out, "--workers", 1, expected=1)
        assert "Another process is at work" in stderr


def test_termination_leaves_no_process_and_no_half_file(slides, tmp_path):
    out = tmp_path / "stopped"
    with running(slides, "--out", out, "--workers", 1) as process:
        until(lambda: list(out.glob("slides/p1--slide/work/tile-*.parquet")), LIMIT_S)
        begun = descendants(process.pid)
        send(process.pid, signal.SIGTERM)
        assert ended(process).returncode == 128 + signal.SIGTERM
        wait_until_gone(begun)
    assert not list(out.rglob(".unfinished-*"))


def test_scheduler_that_is_away_is_named(tmp_path):
    _, stderr = run(SAMPLE, "--out", tmp_path / "away", "--scheduler", "tcp://127.0.0.1:9", expected=75, env=IMPATIENT)
    assert "No Dask scheduler answers at tcp://127.0.0.1:9" in stderr


def test_workers_of_a_scheduler_give_the_same_bytes(slides, one_worker, tmp_path):
    dask, quiet = [sys.executable, "-m", "dask"], {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    where = tmp_path / "scheduler.json"
    scheduler = [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", where]
    with started(scheduler, **quiet):
        address = until(lambda: json.loads(where.read_bytes())["address"], ignoring=(OSError, ValueError))
        command = (slides, "--out", tmp_path / "cluster", "--scheduler", address, "--patients", slides / "patients.csv")
        _, stderr = run(*command, expected=75, env=IMPATIENT)
        assert "has no worker" in stderr
        with started([*dask, "worker", address, "--nthreads", "1", "--no-dashboard"], cwd=tmp_path, **quiet):
            with Client(address) as client:
                client.wait_for_workers(1, timeout=PATIENCE_S)
            _, stderr = run(*command, expected=1)
            assert "2 of 4 slides done, 2 failed" in stderr
    assert results(tmp_path / "cluster") == results(one_worker[0])


def test_full_disk_is_named_and_the_batch_goes_on_when_there_is_room(slides, one_worker, tmp_path):
    out = tmp_path / "full"
    command = (slides, "--out", out, "--workers", 1, "--patients", slides / "patients.csv")
    _, stderr = run(*command, expected=1, preexec_fn=_largest_file)
    assert "slide.tif: " in stderr
    assert "too large" in stderr
    run(*command, expected=1)
    assert results(out) == results(one_worker[0])


def _largest_file():
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
