"""A batch as it really is: the service and the command as processes."""

import io
import signal
import sys

import httpx
import pyarrow.parquet as pq
import pytest

from tests.api.batch_client import ended, post_tiles
from tests.conftest import REPOSITORY
from tests.drawing import draw_tile, encoded, grid_of_centres
from tests.served import served
from tests.waiting import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="a service on Windows runs no batches"),
]
PATIENCE_S = 120


def test_batch_outlives_a_killed_service_and_gives_what_analyze_gives(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.jobs.orders.PATIENCE_S", PATIENCE_S)
    settings = {"batches_dir": tmp_path / "batches", "batch_workers": 1}
    tiles = {
        "sample.png": (REPOSITORY / "models" / "marrow" / "sample.png").read_bytes(),
        "drawn.png": encoded(draw_tile(grid_of_centres())),
    }
    files = [("tiles", item) for item in tiles.items()]
    with served(**settings) as (process, address), httpx.Client(base_url=address, timeout=60) as client:
        batch = post_tiles(client, files=files).json()
        until(lambda: client.get(f"/batches/{batch['id']}").json()["state"] == "running")
        process.send_signal(signal.SIGKILL)
        process.wait()
    with served(**settings) as (_, address), httpx.Client(base_url=address, timeout=60) as client:
        found = ended(client, batch)
        assert (found["state"], found["detail"]) == ("finished", None)
        assert found["progress"]["slides_done"] == 2
        results = {file["name"]: client.get(file["url"]).content for file in found["results"]}
        for name, tile in tiles.items():
            cells = pq.read_table(io.BytesIO(results[f"slides/{name.removesuffix('.png')}/cells.parquet"]))
            alone = client.post("/analyze", files={"tile": tile}).json()
            assert cells.num_rows == len(alone["cells"]) > 10
        assert b"drawn" in results["index.html"]
