import asyncio
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import sleep

import pytest

from bench.load import Answer, Load, count_cells, drift, run_load, summarise
from tests.waiting import PATIENCE_S

TILES = [b"one", b"three"]
SLOW_S = 0.05


@contextmanager
def stub(places, together=1):
    """Run a server that answers /analyze with as many cells as the tile's name says, and 503 without a free place.

    Args:
        places: how many requests it answers at once.
        together: the first requests wait for each other, before and after they look for a place.
    """
    free, meeting = threading.Semaphore(places), threading.Barrier(together)
    most, under_way, lock, waiting = [0], [0], threading.Lock(), threading.Semaphore(together)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            is_early = waiting.acquire(blocking=False)
            with lock:
                under_way[0] += 1
                most[0] = max(most[0], under_way[0])
            if is_early:
                meeting.wait(PATIENCE_S)
            has_place = free.acquire(blocking=False)
            if is_early:
                meeting.wait(PATIENCE_S)
            if has_place:
                sleep(SLOW_S)
                free.release()
            with lock:
                under_way[0] -= 1
            if has_place:
                self.reply(200, {"cells": [{}] * (3 if b"three" in body else 1)})
            else:
                self.reply(503, {"title": "busy"})

        def reply(self, status, answer):
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", most
    finally:
        server.shutdown()
        server.server_close()


def test_every_request_is_sent_once_and_the_tiles_in_turn():
    with stub(places=8, together=4) as (url, most):
        load = asyncio.run(run_load(url, TILES, 10, 4))
    assert sorted(answer.tile for answer in load.answers) == [0] * 5 + [1] * 5
    assert {answer.status for answer in load.answers} == {200}
    assert all(answer.seconds >= SLOW_S for answer in load.answers)
    assert most[0] == 4


def test_one_client_waits_for_each_answer():
    with stub(places=8) as (url, most):
        load = asyncio.run(run_load(url, TILES, 4, 1))
    assert most[0] == 1
    assert load.seconds >= 4 * SLOW_S


def test_refusals_are_counted_and_are_no_latencies():
    with stub(places=1, together=4) as (url, _):
        found = summarise(asyncio.run(run_load(url, TILES, 12, 4)), [1, 3])
    assert found["statuses"]["503"] >= 3
    assert sum(found["statuses"].values()) == found["requests"] == 12
    assert found["p50_ms"] >= SLOW_S * 1000


def test_cells_are_those_of_the_answers():
    with stub(places=1) as (url, _):
        assert count_cells(url, TILES) == [1, 3]


def test_refused_tile_is_an_error():
    with stub(places=0) as (url, _), pytest.raises(RuntimeError, match="503"):
        count_cells(url, TILES)


def test_figures_of_a_load_by_hand():
    answers = [Answer(seconds / 1000, 200, seconds % 2) for seconds in range(1, 102)]
    busy = Answer(0.0001, 503, 0)
    found = summarise(Load(4, [busy, *answers], 2.0, 0.5), [10, 20])
    assert found["statuses"] == {"200": 101, "503": 1}
    # Of 1, 2 … 101 ms the percentile p is 1 + p.
    assert [found[f"p{p}_ms"] for p in (50, 95, 99)] == pytest.approx([51, 96, 100])
    assert found["tiles_per_s"] == 50.5
    assert found["cells_per_s"] == (50 * 10 + 51 * 20) / 2
    assert found["client_cpu_share"] == 0.25


def test_growth_during_the_warm_up_is_no_drift():
    found = drift([100.0, 200.0] + [300.0] * 8)
    assert found["drift_percent"] == 0
    assert found["largest_mb"] == 300


def test_drift_by_hand():
    # Ten samples: two of warm-up, then the medians of 100, 104 and of 110, 114.
    found = drift([1.0, 2.0, 100.0, 104.0, 105.0, 500.0, 106.0, 107.0, 110.0, 114.0])
    assert (found["first_mb"], found["last_mb"]) == (102, 112)
    assert found["drift_percent"] == pytest.approx(100 * 10 / 102)


@pytest.mark.parametrize("samples", [[], [1.0, 2.0, 3.0, 4.0]])
def test_too_few_samples_say_nothing(samples):
    assert drift(samples) is None
