import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

import app.service
from app.observe.metrics import Metrics
from app.pipeline.run import analyse
from app.service import Analyzer
from app.settings import Settings
from tests.api.answers import assert_problem, post_tile
from tests.api.exchange import HEAD, Exchange
from tests.drawing import draw_tile, encoded, grid_of_centres
from tests.waiting import PATIENCE_S, until

TILE = encoded(draw_tile(grid_of_centres()))


@pytest.fixture
def background():
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def gate(monkeypatch, background):
    """Analyses that begin, and go on only when the gate is opened; it opens before `background` waits for them."""

    doors = SimpleNamespace(begun=threading.Semaphore(0), opened=threading.Event())

    def slow(*arguments, **options):
        doors.begun.release()
        assert doors.opened.wait(PATIENCE_S)
        return analyse(*arguments, **options)

    monkeypatch.setattr(app.service, "analyse", slow)
    yield doors
    doors.opened.set()


def test_one_more_than_workers_and_queue_is_503(serve, gate, background):
    client = serve(workers=1, queue=0)
    first = background.submit(post_tile, client, TILE)
    assert gate.begun.acquire(timeout=PATIENCE_S)
    refused = post_tile(client, TILE)
    assert_problem(refused, 503, "busy")
    assert int(refused.headers["Retry-After"]) > 0
    assert_problem(client.get("/prototypes/0"), 503, "busy")
    gate.opened.set()
    assert first.result().status_code == 200
    assert post_tile(client, TILE).status_code == 200


def test_queued_request_is_served_when_its_turn_comes(serve, gate, background):
    client = serve(workers=1, queue=1)
    first = background.submit(post_tile, client, TILE)
    assert gate.begun.acquire(timeout=PATIENCE_S)
    others = [background.submit(post_tile, client, TILE) for _ in range(2)]
    until(lambda: any(other.done() for other in others))
    gate.opened.set()
    assert first.result().status_code == 200
    assert sorted(other.result().status_code for other in others) == [200, 503]


def test_other_requests_are_answered_while_an_analysis_runs(serve, gate, background):
    client = serve(workers=1, queue=0)
    first = background.submit(post_tile, client, TILE)
    assert gate.begun.acquire(timeout=PATIENCE_S)
    for path in ("/livez", "/readyz", "/bundles", "/openapi.json"):
        assert client.get(path).status_code == 200
    assert not first.done()
    gate.opened.set()
    assert first.result().status_code == 200


def test_analysis_that_takes_too_long_is_504_and_keeps_its_place_until_it_ends(serve, gate):
    client = serve(workers=1, queue=0, time_limit_s=0.2)
    assert_problem(post_tile(client, TILE), 504, "0.2 s")
    assert_problem(post_tile(client, TILE), 503)
    gate.opened.set()
    until(lambda: client.get("/prototypes/0").status_code == 200)


def test_queued_request_whose_time_has_passed_is_never_begun(serve, gate, background):
    client = serve(workers=1, queue=1, time_limit_s=1)
    first = background.submit(post_tile, client, TILE)
    assert gate.begun.acquire(timeout=PATIENCE_S)
    second = background.submit(post_tile, client, TILE)
    for answer in (first, second):
        assert_problem(answer.result(), 504)
    gate.opened.set()
    # The worker takes what waits in turn: when it gets to this, it has passed the second by.
    until(lambda: client.get("/prototypes/0").status_code == 200)
    assert not gate.begun.acquire(blocking=False)


def test_request_that_the_end_of_the_service_cuts_short_is_503(serve, gate):
    client = serve(workers=1, queue=0)

    async def cut_short():
        found = Exchange(client.app, HEAD + TILE + b"\r\n--b--\r\n", is_whole=True)
        running = asyncio.create_task(found.run())
        assert await asyncio.to_thread(gate.begun.acquire, timeout=PATIENCE_S)
        running.cancel()
        await running
        return found

    found = client.portal.call(cut_short)
    assert found.status == 503
    assert b"retry-after" in found.answered


def test_several_tiles_at_once_get_each_its_own_answer(serve, background):
    client = serve(workers=2, queue=8)
    shapes = [(200, 240), (200, 320), (240, 240), (280, 200)]
    tiles = [encoded(draw_tile(grid_of_centres(shape), shape=shape)) for shape in shapes]
    answers = [answer.json() for answer in background.map(lambda tile: post_tile(client, tile), tiles)]
    assert [(answer["tile"]["height"], answer["tile"]["width"]) for answer in answers] == shapes
    assert [len(answer["cells"]) for answer in answers] == [len(grid_of_centres(shape)) for shape in shapes]
    assert len({answer["request_id"] for answer in answers}) == len(answers)


def test_unexpected_error_tells_nothing_but_the_request_id(serve, monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("the secret of /srv/patients")

    client = serve(workers=1, queue=0)
    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR):
        patched.setattr(app.service, "analyse", fail)
        response = post_tile(client, TILE)
    assert_problem(response, 500)
    assert "secret" not in response.text
    assert "RuntimeError" not in response.text
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    logged = [record for record in caplog.records if response.json()["request_id"] in record.getMessage()]
    assert logged
    assert logged[0].exc_info
    assert post_tile(client, TILE).status_code == 200


def test_tile_for_which_memory_runs_out_is_503_and_the_next_one_is_answered(serve, monkeypatch, sample):
    def run_out(*_, **__):
        raise MemoryError("Unable to allocate 82.5 MiB for an array")

    client = serve()
    with monkeypatch.context() as patched:
        patched.setattr(app.service, "analyse", run_out)
        refused = post_tile(client, sample)
    assert_problem(refused, 503, "too little memory")
    assert int(refused.headers["Retry-After"]) > 0
    assert post_tile(client, sample).status_code == 200


def no_thread(_):
    raise RuntimeError("can't start new thread")


def test_workers_run_already_when_the_system_starts_no_thread_any_more(serve, gate, background, monkeypatch):
    """No call is kept that later runs for nobody, and every worker goes on to work."""
    client = serve(workers=2, queue=0)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        for _ in range(4):
            assert client.get("/prototypes/0").status_code == 200
    both = [background.submit(post_tile, client, TILE) for _ in range(2)]
    for _ in both:
        assert gate.begun.acquire(timeout=PATIENCE_S)
    metrics = client.get("/metrics").text
    assert "marrowscope_queue_length 0.0" in metrics
    assert "marrowscope_workers_busy 2.0" in metrics
    assert_problem(client.get("/prototypes/0"), 503, "busy")
    gate.opened.set()
    assert [answer.result().status_code for answer in both] == [200, 200]


def test_service_does_not_start_where_the_system_starts_too_few_threads(monkeypatch):
    start = threading.Thread.start
    begun = []

    def only_two(thread):
        if len(begun) == 2:
            no_thread(thread)
        begun.append(thread)
        start(thread)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", only_two)
        with pytest.raises(RuntimeError, match="new thread"):
            Analyzer(Settings(workers=3), Metrics())
    for thread in begun:
        thread.join(PATIENCE_S)
    assert not any(thread.is_alive() for thread in begun)
