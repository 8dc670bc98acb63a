"""A batch as it really is: the service and the command as processes."""

import io
import signal
import sys

import httpx
import pyarrow.parquet as pq
import pytest

from tests.api.batch_client import ended, post_tiles
from tests.batch.run.dask_cluster import Cluster
from tests.conftest import REPOSITORY
from tests.drawing import draw_tile, encoded, grid_of_centres
from tests.served import served
from tests.waiting import PATIENCE_S, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="a service on Windows runs no batches"),
]
LIMIT_S = 150
"""The second service takes the batch over when the first has not been heard of for half a minute."""


@pytest.mark.timeout(300)
def test_batch_outlives_a_killed_service_and_gives_what_analyze_gives(tmp_path):
    settings = {"batches_dir": tmp_path / "batches", "batch_workers": 1}
    tiles = {
        "sample.png": (REPOSITORY / "models" / "marrow" / "sample.png").read_bytes(),
        "drawn.png": encoded(draw_tile(grid_of_centres())),
    }
    files = [("tiles", item) for item in tiles.items()]
    with served(**settings) as (process, address), httpx.Client(base_url=address, timeout=PATIENCE_S) as client:
        batch = post_tiles(client, files=files).json()
        until(lambda: client.get(f"/batches/{batch['id']}").json()["state"] != "queued")
        process.send_signal(signal.SIGKILL)
        process.wait()
    with served(**settings) as (_, address), httpx.Client(base_url=address, timeout=PATIENCE_S) as client:
        found = ended(client, batch, LIMIT_S)
        assert (found["state"], found["detail"]) == ("finished", None)
        assert found["progress"]["slides_done"] == 2
        results = {file["name"]: client.get(f"/batches/{file['url']}").content for file in found["results"]}
        for name, tile in tiles.items():
            cells = pq.read_table(io.BytesIO(results[f"slides/{name.removesuffix('.png')}/cells.parquet"]))
            alone = client.post("/analyze", files={"tile": tile}).json()
            assert cells.num_rows == len(alone["cells"]) > 10
        assert b"drawn" in results["index.html"]


@pytest.mark.timeout(300)
def test_batch_waits_for_a_scheduler_that_comes_late(tmp_path):
    cluster = Cluster(tmp_path)
    settings = {"batches_dir": tmp_path / "batches", "scheduler": cluster.address}
    tile = ("drawn.png", encoded(draw_tile(grid_of_centres())))
    with served(**settings) as (_, address), httpx.Client(base_url=address, timeout=PATIENCE_S) as client:
        batch = post_tiles(client, files=[("tiles", tile)]).json()
        until(lambda: client.get(f"/batches/{batch['id']}").json()["progress"]["waiting_since"], LIMIT_S)
        assert client.get(f"/batches/{batch['id']}").json()["state"] == "running"
        with cluster.scheduler(), cluster.worker():
            found = ended(client, batch, LIMIT_S)
        assert (found["state"], found["detail"], found["progress"]["slides_done"]) == ("finished", None, 1)
        assert found["progress"]["waiting_since"] is None


def test_batch_whose_scheduler_does_not_come_says_so(tmp_path):
    settings = {"batches_dir": tmp_path, "scheduler": "tcp://127.0.0.1:9", "scheduler_patience_s": 1}
    tile = ("drawn.png", encoded(draw_tile(grid_of_centres())))
    with served(**settings) as (_, address), httpx.Client(base_url=address, timeout=PATIENCE_S) as client:
        found = ended(client, post_tiles(client, files=[("tiles", tile)]).json(), LIMIT_S)
    assert found["state"] == "failed"
    assert found["detail"].startswith("No Dask scheduler answers at tcp://127.0.0.1:9.")
    assert found["progress"]["waiting_since"] is not None
