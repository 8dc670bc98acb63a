import socket
import threading
import time
from contextlib import suppress

import pytest
import uvicorn

from app.api import connection
from app.api.connection import Connection, Turn

ANSWER_BYTES = 30_000_000
PATIENCE_S = 20
WHOLE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def app(scope, receive, send):
    """A body is read where the path is /read; the answer of /large is more than any buffer between holds."""
    while scope["path"] == "/read" and (await receive()).get("more_body", False):
        pass
    body = bytes(ANSWER_BYTES if scope["path"] == "/large" else 2)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def port(monkeypatch):
    """Of a server where a client's turn takes half a second at most, and which has room for four connections."""
    for turn in Turn:
        monkeypatch.setitem(connection.LIMITS_S, turn, 0.5)
    monkeypatch.delitem(connection.LIMITS_S, Turn.SERVICE)
    monkeypatch.setattr(connection, "MAX_CONNECTIONS", 4)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, http=Connection, lifespan="off", ws="none", log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = server.force_exit = True
        thread.join(PATIENCE_S)
    assert not thread.is_alive()


def connect(port, data=b""):
    client = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    client.sendall(data)
    return client


def seconds_until_closed(client, drip=b""):
    """Wait for the server to end the connection, sending a byte now and then."""
    start = time.monotonic()
    client.settimeout(0.05)
    while time.monotonic() - start < PATIENCE_S:
        try:
            if drip:
                client.sendall(drip)
            if not client.recv(100_000):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - start


@pytest.mark.parametrize("begin", [b"", b"GET / HTT", WHOLE[:-2]], ids=["nothing", "half a line", "no end"])
def test_head_that_never_ends_ends_the_connection(port, begin):
    with connect(port, begin) as client:
        assert 0.3 < seconds_until_closed(client) < 5


def test_head_that_drips_in_gets_no_more_time_for_it(port):
    with connect(port, WHOLE[:-2] + b"X: ") as client:
        assert 0.3 < seconds_until_closed(client, drip=b"a") < 5


def test_rest_of_a_body_that_nobody_reads_may_not_drip_in_for_ever(port):
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
    with connect(port, head) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        assert 0.3 < seconds_until_closed(client, drip=b"a") < 5


def test_answer_that_is_never_taken_is_dropped(port):
    with connect(port, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n") as client:
        time.sleep(2)
        received = 0
        with suppress(ConnectionError):
            while data := client.recv(1_000_000):
                received += len(data)
    assert received < ANSWER_BYTES


def test_answer_that_is_taken_in_time_is_whole_and_the_connection_goes_on(port):
    with connect(port) as client:
        for _ in range(2):
            client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            file = client.makefile("rb")
            while file.readline() != b"\r\n":
                pass
            assert len(file.read(ANSWER_BYTES)) == ANSWER_BYTES


def test_body_that_the_application_reads_is_not_the_connections_to_end(port):
    with connect(port, b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n") as client:
        for _ in range(20):
            time.sleep(0.05)
            client.sendall(b"a")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("path", [b"read", b""], ids=["that is read", "that is not read"])
def test_body_in_chunks_of_a_byte_ends_the_connection(port, path):
    head = b"POST /" + path + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(port) as client, suppress(ConnectionError):
        client.sendall(head + b"1\r\na\r\n" * 100_000)
        assert seconds_until_closed(client) < 0.4


def test_text_of_short_lines_is_left_to_the_application(port):
    lines = b"1\r\n" * 100_000
    head = b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(lines)
    with connect(port, head + lines) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 200")


def test_connection_that_waits_longest_makes_room(port, monkeypatch):
    monkeypatch.setitem(connection.LIMITS_S, Turn.HEAD, 60)
    idle = []
    for _ in range(5):
        idle.append(connect(port))
        time.sleep(0.05)
    # The first was dropped for the fifth, and the second makes room for this one.
    with connect(port, WHOLE) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
    for gone in idle[:2]:
        assert seconds_until_closed(gone) < 5
    idle[2].sendall(WHOLE)
    assert idle[2].recv(1000).startswith(b"HTTP/1.1 200")
    for client in idle:
        client.close()


@pytest.mark.parametrize("stray", [b"\r\n", b"nonsense"])
def test_what_follows_the_last_request_of_a_connection_does_not_cost_it_its_answer(port, stray):
    last = b"POST /read HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    for head, body in ((last % 0, b""), (last % 2, b"ab")):
        with connect(port, head) as client:
            client.sendall(body)
            with suppress(OSError):
                client.sendall(stray)
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
    with connect(port, last % 0 + stray) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
