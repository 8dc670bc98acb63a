"""Several processes of one service: whichever is asked tells the numbers of all."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from app.observe.processes import FOLDER, shared_numbers
from tests.conftest import REPOSITORY
from tests.drawing import draw_tile, encoded, grid_of_centres
from tests.observe.reading import labels_of, parsed, value
from tests.processes import started
from tests.served import served
from tests.waiting import PATIENCE_S, until

TILE = encoded(draw_tile(grid_of_centres()))
COUNTS = """
from app.observe.metrics import Metrics
metrics = Metrics()
metrics.workers.set(2)
metrics.waiting.inc()
metrics.ready.set(1)
metrics.tiles.labels("marrow", "normal").inc({tiles})
metrics.stage_seconds.labels("total").observe(0.1)
print("counted", flush=True)
input()
print(metrics.text().decode(), flush=True)
"""


@pytest.fixture
def start():
    """Begin a process that counts tiles, waits for a line, and tells what it knows."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with shared_numbers(), ExitStack() as stack:

        def begin(tiles):
            command = [sys.executable, "-c", COUNTS.format(tiles=tiles)]
            process = stack.enter_context(started(command, cwd=REPOSITORY, **pipes))
            assert process.stdout.readline() == "counted\n"
            return process

        yield begin


def test_numbers_add_up_and_a_killed_process_takes_only_what_it_was_busy_with(start):
    first, second, third = (start(tiles) for tiles in (1, 10, 100))
    third.kill()
    third.wait()
    samples = parsed(first.communicate("\n", timeout=PATIENCE_S)[0])
    assert value(samples, "marrowscope_tiles_total", bundle="marrow", label="normal") == 111
    assert value(samples, "marrowscope_stage_seconds_count", stage="total") == 3
    assert value(samples, "marrowscope_queue_length") == 2
    assert value(samples, "marrowscope_workers") == 4
    assert value(samples, "marrowscope_ready") == 1
    assert value(samples, "marrowscope_processes") == 2
    if sys.platform == "linux":
        pids = {str(process.pid) for process in (first, second)}
        assert labels_of(samples, "process_resident_memory_bytes", "pid") == pids


def test_the_folder_goes_with_the_service():
    with shared_numbers():
        folder = os.environ[FOLDER]
        assert os.path.isdir(folder)
    assert not os.path.exists(folder)
    assert FOLDER not in os.environ


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell of each process")
def test_the_service_tells_the_numbers_of_all_its_processes_also_after_one_was_killed():
    """Which process answers is chance; each connection may meet another one."""
    with served(processes=2) as (_, address), ThreadPoolExecutor(4) as clients:

        def told():
            return parsed(httpx.get(f"{address}/metrics", timeout=PATIENCE_S, trust_env=False).text)

        def post(_):
            return httpx.post(f"{address}/analyze", files={"tile": TILE}, timeout=PATIENCE_S, trust_env=False)

        def analysed():
            return value(told(), "marrowscope_tiles_total", bundle="marrow", label="indeterminate")

        def pids():
            return labels_of(told(), "process_resident_memory_bytes", "pid")

        until(lambda: len(pids()) == 2, ignoring=httpx.TransportError)
        assert {answer.status_code for answer in clients.map(post, range(12))} == {200}
        assert [analysed() for _ in range(5)] == [12] * 5
        before = pids()
        os.kill(int(min(before)), signal.SIGKILL)
        until(lambda: len(pids() - before) == 1 and len(pids()) == 2, ignoring=httpx.TransportError)
        assert {answer.status_code for answer in clients.map(post, range(6))} == {200}
        assert [analysed() for _ in range(5)] == [18] * 5
        assert value(told(), "marrowscope_workers_busy") == value(told(), "marrowscope_queue_length") == 0
        assert value(told(), "marrowscope_workers") == 4
