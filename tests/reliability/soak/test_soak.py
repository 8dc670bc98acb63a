import http.server
import json
import threading
import uuid
from contextlib import contextmanager
from dataclasses import replace

import pytest

from bench.process import rss_mb
from reliability.soak.clients import Connection, Tally, ask_alone, settle
from reliability.soak.experiment import measure
from reliability.soak.requests import Case, get, mix

CASE = get("/livez")
ALONE = {CASE.name: (200, "application/json", {"status": "alive"})}


def respond(text=b'{"status": "alive"}', *, status=200, length=None, request_id=None, **headers):
    """One answer of the false server."""
    given = {"Content-Type": "application/json", "Content-Length": str(length or len(text)), **headers}
    return status, given, text, request_id or uuid.uuid4().hex


@contextmanager
def answering(*answers):
    """A server that gives these answers in turn, whatever is asked; its address."""
    left = list(answers)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, headers, text, request_id = left.pop(0)
            self.send_response(status)
            for name, value in {**headers, "X-Request-ID": request_id}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address
        finally:
            server.shutdown()


def tally_of(*answers, requests=1, is_patient=False):
    tally = Tally()
    with answering(*answers) as address:
        connection = Connection(address)
        for _ in range(requests):
            settle(connection, CASE, ALONE, tally, is_patient=is_patient)
    return tally


def test_right_answer_is_counted_once():
    tally = tally_of(respond())
    assert (tally.right, tally.wrong, tally.lost) == (1, [], [])


@pytest.mark.parametrize("answer", [respond(b'{"status": "dead"}'), respond(status=500)])
def test_other_answer_is_wrong(answer):
    tally = tally_of(answer)
    assert (tally.right, len(tally.wrong), tally.lost) == (0, 1, [])


def test_answer_of_another_request_is_wrong_even_where_its_text_is_right():
    tally = tally_of(respond(request_id="a"), respond(request_id="a"), requests=2)
    assert (tally.right, len(tally.wrong)) == (1, 1)


def test_answer_that_ends_too_early_is_lost():
    tally = tally_of(respond(length=1000))
    assert (tally.right, tally.wrong, len(tally.lost)) == (0, [], 1)


def test_patient_client_asks_again_where_the_connection_broke():
    tally = tally_of(respond(length=1000), respond(), is_patient=True)
    assert (tally.right, tally.broken, tally.lost) == (1, 1, [])


def test_busy_server_is_asked_again():
    tally = tally_of(respond(status=503, Retry_After="0"), respond())
    assert (tally.right, tally.retried, tally.wrong) == (1, 1, [])
    assert tally.statuses == {503: 1, 200: 1}


def test_server_without_steady_answers_cannot_be_soaked():
    answers = (respond(json.dumps({"status": n}).encode()) for n in range(2))
    with answering(*answers) as address, pytest.raises(RuntimeError, match="no steady answer"):
        ask_alone(address, [CASE])


def test_service_that_refuses_good_requests_cannot_be_soaked():
    good = replace(CASE, is_good=True)
    with answering(respond(status=413), respond(status=413)) as address, pytest.raises(RuntimeError, match="413"):
        ask_alone(address, [good])


def test_no_two_cases_share_a_name_and_each_is_what_it_was():
    first, second = mix(), mix()
    assert len({case.name for case in first}) == len(first)
    assert first == second
    assert all(isinstance(case, Case) and case.raw for case in first)


@pytest.mark.slow
@pytest.mark.skipif(rss_mb() is None, reason="files and threads are counted in /proc, which this system does not have")
def test_service_answers_everything_rightly_and_leaves_nothing_behind():
    found = measure(quick=True)
    assert found["what_went_wrong"] == []
    assert (found["lost"], found["wrong"]) == (0, 0)
    assert found["right"] > 100
    assert found["hung_up"] > 5
    assert found["files"]["at_the_end"] <= found["files"]["after_warm_up"]
    # A worker that was not needed in the warm-up may begin later.
    assert found["threads"]["at_the_end"] <= found["threads"]["after_warm_up"] + 2
    # Half a minute is all warm-up: that memory stays where it is, the long form shows.
    assert found["memory"]["largest_mb"] < 1000
