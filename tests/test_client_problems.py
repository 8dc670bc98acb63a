"""What the client makes of answers that this service does not give: a proxy's, a newer or a busy service's, none."""

import json
import pickle
import socket
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import marrowscope
from app.answer.present import Result, bundle_out
from app.answer.schemas import AnalysisOut
from app.client import MIN_PAUSE_S
from app.pipeline.bundle.load import load_bundle
from app.pipeline.run import analyse
from marrowscope import Client, ServiceProblem
from tests.drawing import draw_tile, encoded, grid_of_centres
from tests.served import unserved

TILE = encoded(draw_tile(grid_of_centres()))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundle(shipped_bundle):
    return load_bundle(shipped_bundle)


@pytest.fixture(scope="module")
def answer(bundle):
    return AnalysisOut.model_validate_json(Result(analyse(TILE, bundle, max_pixels=10**6), bundle, "0" * 32).json())


@contextmanager
def answering(*answers):
    """Something at an address that gives these answers in turn, the last one ever after: (status, headers, body).

    Yields its address and the paths that were asked for.
    """
    asked, left = [], list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(self.path)
            status, headers, body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()


def busy(retry_after="1"):
    problem = {"title": "Service Unavailable", "status": 503, "detail": "Every worker is busy.", "request_id": "0" * 32}
    headers = {"Content-Type": "application/problem+json", "Retry-After": retry_after}
    return 503, headers, json.dumps(problem).encode()


def ready():
    return 200, {"Content-Type": "application/json"}, b'{"status": "ready"}'


def as_json(answer):
    return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()


def test_problem_survives_the_way_back_from_a_process():
    problem = ServiceProblem("It is busy.", status=503, title="Service Unavailable", retry_after_s=5)
    found = pickle.loads(pickle.dumps(problem))
    assert (str(found), found.status, found.retry_after_s) == ("It is busy.", 503, 5)


def test_service_that_is_not_there_is_named_with_what_to_start():
    with unserved() as nobody, Client(f"http://user:secret@{nobody}") as service:
        assert not service.is_ready()
        with pytest.raises(ServiceProblem, match="make run") as caught:
            service.analyze(TILE)
    assert "127.0.0.1" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.status is None


def test_service_that_does_not_answer_is_given_up():
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client(url, timeout_s=0.3) as service, pytest.raises(ServiceProblem, match=r"within 0\.3 s"):
            service.bundles()


@pytest.mark.parametrize("status", [200, 302, 502, 503])
def test_page_of_a_proxy_is_a_problem_and_no_traceback_of_json(status):
    page = status, {"Content-Type": "text/html"}, b"<html>Bad gateway</html>"
    with answering(page) as (url, _), Client(url) as service:
        for ask in (service.bundles, lambda: service.analyze(TILE), lambda: service.export(TILE, "overlay")):
            with pytest.raises(ServiceProblem, match=f"{status}.*proxy") as caught:
                ask()
            assert caught.value.status == status
            assert caught.value.__suppress_context__ or caught.value.__context__ is None


OF_CELLS = {"measurements", "not_measured"}
"""Objects of a cell whose names are those of measurements, each with a number or the reason why there is none."""


def with_news(value):
    """A JSON value with one more field in every object of it."""
    if isinstance(value, dict):
        of_cell = {name: value[name] for name in OF_CELLS & value.keys() if isinstance(value[name], dict)}
        others = {name: with_news(part) for name, part in value.items()}
        return {**others, **of_cell, "news": [{"of": "tomorrow"}]}
    return [with_news(part) for part in value] if isinstance(value, list) else value


def test_newer_service_with_more_fields_is_still_read(answer):
    document = answer.model_dump(mode="json")
    with answering(as_json(with_news(document))) as (url, _), Client(url) as newer:
        assert newer.analyze(TILE) == answer


def test_newer_service_with_more_in_its_manifest_is_still_read(bundle):
    card = bundle_out(bundle, default=True)
    document = card.model_dump(mode="json")
    for part in (
        document,
        document["manifest"],
        document["manifest"]["quality"],
        document["manifest"]["image_level"]["svm"],
    ):
        part["news"] = 1
    with answering(as_json(document)) as (url, _), Client(url) as newer:
        assert newer.bundle("marrow") == card


def test_answer_that_lacks_a_field_is_named(answer):
    document = answer.model_dump(mode="json")
    del document["cells"][0]["contour"]
    with answering(as_json(document)) as (url, _), Client(url) as other, pytest.raises(ServiceProblem) as caught:
        other.analyze(TILE)
    assert "cells.0.contour: Field required" in str(caught.value)
    assert marrowscope.__version__ in str(caught.value)


def test_tile_is_sent_again_when_a_busy_service_has_a_place(answer, monkeypatch):
    pauses = []
    monkeypatch.setattr("app.client.time.sleep", pauses.append)
    document = as_json(answer.model_dump(mode="json"))
    with answering(busy(), ready(), busy("0"), ready(), document) as (url, asked), Client(url) as service:
        assert service.analyze(TILE) == answer
    assert [path.partition("?")[0] for path in asked] == ["/analyze", "/readyz", "/analyze", "/readyz", "/analyze"]
    assert pauses == [1, MIN_PAUSE_S]


def test_busy_service_is_given_up_when_the_time_is_over():
    with (
        answering(busy("5")) as (url, asked),
        Client(url, timeout_s=4) as service,
        pytest.raises(ServiceProblem, match="busy") as caught,
    ):
        service.prototypes(0)
    assert (caught.value.status, caught.value.retry_after_s) == (503, 5)
    assert len(asked) == 1


def test_service_may_be_behind_a_path(answer):
    with answering(as_json(answer.model_dump(mode="json"))) as (url, asked), Client(f"{url}/lab/marrow/") as service:
        service.analyze(TILE)
    assert asked[0].startswith("/lab/marrow/analyze?")
