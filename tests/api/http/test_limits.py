import asyncio
import tempfile

import numpy as np
import pytest
from PIL import Image

from app.main import create_app
from app.settings import Settings
from tests.api.answers import assert_problem, post_tile
from tests.api.exchange import FORM, HEAD, Exchange
from tests.drawing import draw_tile, encoded, grid_of_centres

TILE = encoded(draw_tile(grid_of_centres()))


def test_path_and_query_that_are_too_long_are_414(client):
    assert client.get("/", params={"q": "a" * 4000}).status_code == 200
    assert_problem(client.get("/livez", params={"q": "a" * 4100}), 414, "4096")
    assert_problem(client.post(f"/{'a' * 5000}"), 414, "5001")


def test_too_many_or_too_long_headers_are_431(client):
    assert client.get("/livez", headers={f"x-{i}": "a" for i in range(50)}).status_code == 200
    assert_problem(client.get("/livez", headers={f"x-{i}": "a" for i in range(70)}), 431, "64")
    assert client.get("/livez", headers={"x": "a" * 15_000}).status_code == 200
    assert_problem(client.get("/livez", headers={"x": "a" * 17_000}), 431, "16384")


@pytest.mark.parametrize("size", [(1, 30_000), (30_000, 1)])
def test_side_that_is_too_long_is_413(client, size):
    assert_problem(post_tile(client, encoded(Image.new("RGB", size))), 413, "20000")


def test_strip_as_long_as_a_side_may_be_is_analysed(client):
    strip = np.tile(draw_tile(grid_of_centres())[:1], (1, 100, 1))[:, :20_000]
    assert strip.shape[1] == 20_000
    assert post_tile(client, encoded(strip)).status_code == 200


@pytest.mark.parametrize("n_parts", [2, 3, 1000])
def test_form_of_several_files_is_400(client, n_parts):
    files = [("tile", ("tile.png", TILE[:100]))] * n_parts
    assert_problem(client.post("/analyze", files=files), 400)


@pytest.mark.parametrize("n_fields", [1, 2, 1000])
def test_form_with_fields_besides_is_400(client, n_fields):
    answer = client.post("/analyze", files={"tile": TILE}, data={f"field{i}": "a" for i in range(n_fields)})
    assert_problem(answer, 400)


def test_header_of_a_part_that_never_ends_is_400(client):
    body = HEAD.replace(b"\r\n\r\n", b"\r\nX-Long: ") + bytes(1_000_000)
    assert_problem(client.post("/analyze", content=body, headers=FORM), 400)


def test_upload_needs_no_disk(client, monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda *_, **__: pytest.fail("A temporary file was opened."))
    large = encoded(np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), dtype=np.uint8))
    assert len(large) > 4_000_000
    assert post_tile(client, large).status_code == 200


def exchange(app, *messages, **options):
    async def run():
        async with app.router.lifespan_context(app):
            found = Exchange(app, *messages, **options)
            await found.run()
        return found

    return asyncio.run(run())


def test_body_that_stops_coming_is_408_and_the_connection_ends():
    found = exchange(create_app(Settings(threads=1, body_timeout_s=0.2)), HEAD, b"\x89PNG")
    assert found.status == 408
    assert found.answered[b"connection"] == b"close"
    assert b"may not pause for more than 0.2 s; %d bytes arrived" % (len(HEAD) + 4) in found.body


def test_body_that_keeps_coming_may_take_longer_than_a_pause():
    """Ten pieces, each after a quarter of the longest pause."""
    app = create_app(Settings(threads=1, body_timeout_s=2, body_min_bytes_per_s=100))
    found = exchange(app, HEAD, *[bytes(1000)] * 8, b"\r\n--b--\r\n", is_whole=True, pause_s=0.5)
    assert found.status == 415, found.body


def test_body_that_drips_is_408_after_the_time_of_a_pause():
    app = create_app(Settings(threads=1, body_timeout_s=0.5, body_min_bytes_per_s=1000))
    found = exchange(app, HEAD, *[b"a"] * 1000, pause_s=0.02)
    assert found.status == 408
    assert found.answered[b"connection"] == b"close"
    assert b"at least 1000 bytes per second, after 0.5 s to begin with; " in found.body
    assert found.messages, "not all of it was waited for"


def test_body_of_the_largest_size_may_come_with_a_megabit_per_second():
    settings = Settings.model_construct()
    assert 0 < settings.body_min_bytes_per_s < 1_000_000 / 8 / 4


def test_client_that_waits_to_be_asked_for_a_body_too_large_is_told_that_the_connection_ends():
    waiting = {**FORM, "Expect": "100-continue", "Content-Length": "99999999"}
    found = exchange(create_app(Settings(threads=1)), headers=waiting)
    assert found.status == 413
    assert found.answered[b"connection"] == b"close"


def test_uploads_that_are_held_are_bounded_together_and_let_go():
    """Room for three bodies of the largest size; three that stay unfinished fill it, and leave nothing behind."""
    app = create_app(Settings(threads=1, max_bytes=1000, workers=1, queue=2, body_timeout_s=2))

    async def run():
        async with app.router.lifespan_context(app):
            slow = [Exchange(app, HEAD + bytes(1000 - len(HEAD))) for _ in range(3)]
            pending = [asyncio.create_task(one.run()) for one in slow]
            while any(one.messages for one in slow):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.01)
            refused = Exchange(app, HEAD)
            await refused.run()
            await asyncio.gather(*pending)
            later = Exchange(app, HEAD + b"no tile\r\n--b--\r\n", is_whole=True)
            await later.run()
        return [one.status for one in slow], refused, later

    slow, refused, later = asyncio.run(run())
    assert slow == [408] * 3
    assert refused.status == 503
    assert b"retry-after" in refused.answered
    assert later.status == 415


def test_full_queue_is_said_without_reading_the_body(serve, monkeypatch):
    client = serve(workers=1, queue=0)
    monkeypatch.setattr("app.service.Analyzer.is_full", property(lambda _: True))
    found = Exchange(client.app, HEAD, HEAD, HEAD)
    client.portal.call(found.run)
    assert found.status == 503
    assert len(found.messages) == 3
