import http.client
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from app.server import as_environment
from app.settings import Settings
from tests.drawing import draw_tile, encoded, grid_of_centres
from tests.processes import workers_of
from tests.served import served
from tests.waiting import PATIENCE_S, until

TILE = encoded(draw_tile(grid_of_centres()))
HEAD = b'--b\r\nContent-Disposition: form-data; name="tile"; filename="tile.png"\r\n\r\n'
BODY = HEAD + TILE + b"\r\n--b--\r\n"


def test_processes_get_the_settings_through_the_environment(monkeypatch):
    given = Settings(
        host="0.0.0.0", bundles_dir="/a b", workers=3, body_timeout_s=2.5, without_keys=True, log_format="text"
    )
    variables = as_environment(given)
    assert "MARROWSCOPE_QUEUE" not in variables
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Settings() == given


def post(address):
    return httpx.post(f"{address}/analyze", files={"tile": TILE}, timeout=PATIENCE_S, trust_env=False)


def post_until_answered(address):
    """Post a tile as a client does that tries again where the connection broke."""
    return until(lambda: post(address), ignoring=httpx.TransportError)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_process_that_is_killed_under_load_is_replaced_and_nothing_is_lost():
    with served(processes=2) as (process, address), ThreadPoolExecutor(4) as pool:
        assert post_until_answered(address).status_code == 200
        first = until(lambda: (found := workers_of(process.pid)) and len(found) == 2 and found)
        answers = [pool.submit(post_until_answered, address) for _ in range(40)]
        until(lambda: any(answer.done() for answer in answers))
        os.kill(first[0], signal.SIGKILL)
        assert {answer.result().status_code for answer in answers} == {200}
        until(lambda: len(set(workers_of(process.pid)) - {first[0]}) == 2)
        assert first[1] in workers_of(process.pid)
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


def begin_to_post(address):
    """Send the head of a request and return its connection when the service has begun to read the body."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=PATIENCE_S)
    connection.putrequest("POST", "/analyze")
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": len(BODY), "Expect": "100-continue"}
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    asked = b""
    while not asked.endswith(b"\r\n\r\n"):
        byte = connection.sock.recv(1)
        assert byte, asked
        asked += byte
    assert asked.startswith(b"HTTP/1.1 100 ")
    return connection


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_what_was_accepted_is_answered_after_sigterm(processes):
    with served(processes=processes) as (process, address):
        assert post_until_answered(address).status_code == 200
        accepted = [begin_to_post(address) for _ in range(8)]
        for connection in accepted[:4]:
            connection.send(BODY)
        process.send_signal(signal.SIGTERM)
        for connection in accepted[4:]:
            connection.send(BODY)
        assert [connection.getresponse().status for connection in accepted] == [200] * 8
        process.wait(PATIENCE_S)
        with pytest.raises(httpx.ConnectError):
            post(address)
        for connection in accepted:
            connection.close()
