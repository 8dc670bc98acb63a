"""A batch on a Dask scheduler that comes late, loses its workers, is killed, and comes back."""

import json
import signal
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from app.batch.run.cluster import Absence, SchedulerLost
from tests.batch.read.drawn_slides import write_pyramid
from tests.batch.run.command import LIMIT_S, running
from tests.batch.run.dask_cluster import Cluster
from tests.conftest import REPOSITORY
from tests.processes import ended, kill
from tests.waiting import until


@pytest.fixture
def slide(tmp_path):
    """A slide of three tiles: the sample tile, mirrored at its edges."""
    with Image.open(REPOSITORY / "models" / "marrow" / "sample.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    path = tmp_path / "slides" / "slide.tif"
    path.parent.mkdir()
    write_pyramid(path, np.pad(pixels, ((0, 288), (0, 3088), (0, 0)), mode="symmetric"), compression="deflate")
    return path


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path)


@contextmanager
def batch_of(slide, cluster, out):
    """A running batch, and a function that returns its progress."""
    with running(slide, "--out", out, "--scheduler", cluster.address) as process:

        def progress():
            assert process.poll() is None, process.communicate()
            return json.loads((out / "progress.json").read_bytes())

        yield process, progress


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_batch_waits_for_its_scheduler_and_goes_on(slide, cluster, tmp_path):
    out, begun = tmp_path / "out", datetime.now(UTC)

    def waits():
        return until(lambda: progress()["waiting_since"], LIMIT_S, ignoring=OSError)

    def works():
        return until(lambda: list(out.glob("slides/slide/work/tile-*.parquet")), LIMIT_S)

    with batch_of(slide, cluster, out) as (process, progress):
        since = datetime.fromisoformat(waits())
        assert begun < since < datetime.now(UTC)
        with cluster.scheduler() as scheduler:
            assert datetime.fromisoformat(progress()["waiting_since"]) == since  # there is no worker yet
            with cluster.worker() as worker:
                works()
                assert progress()["waiting_since"] is None
                kill(worker)
            assert datetime.fromisoformat(waits()) > since
            scheduler.send_signal(signal.SIGKILL)
        with cluster.scheduler(), cluster.worker():
            done = ended(process, LIMIT_S)
    assert done.returncode == 0, done.stderr
    assert "Waiting for the Dask scheduler and its workers since" in done.stderr
    found = json.loads((out / "progress.json").read_bytes())
    assert (found["state"], found["slides_done"], found["waiting_since"]) == ("finished", 1, None)
    assert found["tiles"] == found["tiles_done"] == 3
    cells = pq.read_table(out / "slides" / "slide" / "cells.parquet")
    assert cells["id"].to_pylist() == list(range(len(cells)))
    assert (
        len({(x, y) for x, y in zip(cells["x"].to_pylist(), cells["y"].to_pylist(), strict=True)}) == len(cells) > 500
    )


@pytest.mark.slow
def test_waiting_batch_ends_at_once_when_it_is_told_to(slide, cluster, tmp_path):
    with batch_of(slide, cluster, tmp_path / "out") as (process, progress):
        until(lambda: progress()["waiting_since"], LIMIT_S, ignoring=OSError)
        process.send_signal(signal.SIGTERM)
        assert ended(process).returncode == 128 + signal.SIGTERM


def test_patience_counts_from_the_beginning_of_each_absence(monkeypatch):
    clock = 100.0
    monkeypatch.setattr("app.batch.run.cluster.monotonic", lambda: clock)
    absence = Absence(patience_s=60)
    absence.goes_on("Away.")
    since = absence.since
    assert datetime.now(UTC) - since < timedelta(minutes=1)
    clock = 159.0
    absence.goes_on("Away.")
    assert absence.since == since
    absence.ends()
    assert absence.since is None
    absence.goes_on("Away.")
    clock = 219.0
    with pytest.raises(SchedulerLost, match=r"Away\. The batch has waited for 60 s"):
        absence.goes_on("Away.")
