import socket
import threading
import tracemalloc
from contextlib import suppress
from time import monotonic, sleep

import pytest
import uvicorn

from app.api.http import connection
from app.api.http.connection import Connection, Turn
from tests.waiting import PATIENCE_S, until

ANSWER_BYTES = 30_000_000
LIMIT_S = 0.5
"""How long a client's turn may take in these tests."""
NEVER_S = 3600
WHOLE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = bytes(30_000_000)
"""More than the buffers of both sockets hold."""
REFUSED = b"POST / HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n"
CLOSE = b"Connection: close\r\n"


async def app(scope, receive, send):
    """A body is read where the path is /read; the answer of /large is more than any buffer between holds."""
    while scope["path"] == "/read" and (await receive()).get("more_body", False):
        pass
    body = bytes(ANSWER_BYTES if scope["path"] == "/large" else 2)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def limit(monkeypatch):
    """Limit some of a client's turns to `LIMIT_S`: `limit(*turns)`; a turn that a test does not limit never ends."""
    for turn in set(Turn) - {Turn.SERVICE}:
        monkeypatch.setitem(connection.LIMITS_S, turn, NEVER_S)
    monkeypatch.setattr(connection, "SILENCE_S", NEVER_S)
    return lambda *turns: [monkeypatch.setitem(connection.LIMITS_S, turn, LIMIT_S) for turn in turns]


@pytest.fixture
def server(limit, monkeypatch):
    """A server that has room for four connections."""
    monkeypatch.setattr(connection, "MAX_CONNECTIONS", 4)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = uvicorn.Server(uvicorn.Config(app, http=Connection, lifespan="off", ws="none", log_level="error"))
        thread = threading.Thread(target=found.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        found.port = listener.getsockname()[1]
        yield found
        found.should_exit = found.force_exit = True
        thread.join(PATIENCE_S)
    assert not thread.is_alive()


@pytest.fixture
def port(server):
    return server.port


def connect(port, data=b""):
    client = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    client.sendall(data)
    return client


def wait_until_nothing_is_taken(client):
    """Send until the server ends the connection, of which it may have ended its own half before."""

    def is_refused():
        try:
            client.sendall(b"a")
        except OSError:
            return True
        return False

    until(is_refused)


def wait_until_closed(client, drip=b""):
    """Wait for the server to end the connection, sending a byte now and then."""
    client.settimeout(0.05)

    def is_closed():
        try:
            if drip:
                client.sendall(drip)
            return not client.recv(100_000)
        except TimeoutError:
            return False
        except OSError:
            return True

    until(is_closed)


@pytest.mark.parametrize("begin", [b"", b"GET / HTT", WHOLE[:-2]], ids=["nothing", "half a line", "no end"])
def test_head_that_never_ends_ends_the_connection(port, limit, begin):
    limit(Turn.HEAD)
    start = monotonic()
    with connect(port, begin) as client:
        wait_until_closed(client)
    assert monotonic() - start > 0.9 * LIMIT_S, "the client has its time"


def test_head_that_drips_in_gets_no_more_time_for_it(port, limit):
    limit(Turn.HEAD)
    start = monotonic()
    with connect(port, WHOLE[:-2] + b"X: ") as client:
        wait_until_closed(client, drip=b"a")
    assert monotonic() - start > 0.9 * LIMIT_S


@pytest.mark.parametrize("close", [b"", CLOSE])
def test_rest_of_a_body_that_nobody_reads_may_not_drip_in_for_ever(port, limit, close):
    limit(Turn.REST)
    start = monotonic()
    with connect(port, REFUSED % (close, 100_000)) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        wait_until_nothing_is_taken(client)
    assert monotonic() - start > 0.9 * LIMIT_S


def answers(client):
    """All that a connection still gives until it ends."""
    received = b""
    while data := client.recv(100_000):
        received += data
    return received


@pytest.mark.parametrize("close", [b"", CLOSE])
def test_client_that_sends_everything_before_it_reads_gets_its_answer(port, close):
    with connect(port, REFUSED % (close, len(LARGE)) + LARGE) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 200")


def test_malformed_request_is_answered_however_much_follows(port):
    with connect(port, b"nonsense\r\n\r\n" + LARGE) as client:
        assert answers(client).startswith(b"HTTP/1.1 400")


CHUNKED = b"POST /%b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"


def test_malformed_rest_of_a_body_that_was_answered_changes_nothing(port, caplog):
    with connect(port, CHUNKED % b"") as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        client.sendall(b"no chunk\r\n" + LARGE)
        while client.recv(1000):
            pass
    assert [record for record in caplog.records if record.name == "asyncio"] == []


def test_application_that_reads_a_body_is_let_go_when_it_turns_out_malformed(server):
    with connect(server.port, CHUNKED % b"read") as client:
        until(lambda: server.server_state.tasks)
        client.sendall(b"no chunk\r\n" + LARGE)
        assert client.recv(1000).startswith(b"HTTP/1.1 400")
        until(lambda: not server.server_state.tasks)


def test_rest_of_a_body_is_not_taken_for_the_next_request(port):
    body, last = WHOLE * 100_000, REFUSED % (CLOSE, 0)
    with connect(port, REFUSED % (b"", len(body)) + body + last) as client:
        assert answers(client).count(b"HTTP/1.1 200") == 2
    with connect(port, REFUSED % (CLOSE, len(body)) + body + last) as client:
        assert answers(client).count(b"HTTP/1.1 200") == 1


def test_memory_does_not_grow_with_the_rest_of_a_body(server):
    with connect(server.port, REFUSED % (CLOSE, 4 * len(LARGE))) as client:
        until(lambda: server.server_state.total_requests)
        tracemalloc.start()
        for _ in range(4):
            client.sendall(LARGE)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize("close", [b"", CLOSE])
def test_rest_of_a_body_is_dropped_up_to_a_number_of_bytes(port, monkeypatch, close):
    monkeypatch.setattr(connection, "MAX_REST_BYTES", 1_000_000)
    with connect(port, REFUSED % (close, len(LARGE))) as client, pytest.raises(ConnectionError):
        client.sendall(LARGE)


@pytest.mark.parametrize("close", [b"", CLOSE])
def test_client_that_falls_silent_in_a_refused_body_is_let_go(server, monkeypatch, close):
    monkeypatch.setattr(connection, "SILENCE_S", LIMIT_S)
    with connect(server.port, REFUSED % (close, 1000)) as client:
        until(lambda: server.server_state.total_requests)
        client.sendall(b"a")
        until(lambda: not server.server_state.connections)


def test_connections_that_linger_make_room_too(server):
    lingering = []
    for n in range(1, 5):
        lingering.append(connect(server.port, REFUSED % (CLOSE, 1000)))
        until(lambda n=n: server.server_state.total_requests == n)
    with connect(server.port, WHOLE) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
    wait_until_nothing_is_taken(lingering[0])
    lingering[1].sendall(b"a")
    for client in lingering:
        client.close()


def test_server_that_stops_does_not_wait_for_the_rest_of_a_body(server):
    with connect(server.port, REFUSED % (CLOSE, 1000)) as client:
        until(lambda: server.server_state.total_requests)
        server.should_exit = True
        wait_until_nothing_is_taken(client)


def test_answer_that_is_never_taken_is_dropped(server, limit):
    limit(Turn.ANSWER)
    with connect(server.port, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n") as client:
        until(lambda: server.server_state.total_requests)
        until(lambda: not server.server_state.connections)
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


def test_body_that_the_application_reads_is_not_the_connections_to_end(port, limit):
    limit(Turn.REST, Turn.ANSWER)
    start = monotonic()
    with connect(port, b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n") as client:
        for _ in range(19):
            client.sendall(b"a")
            sleep(LIMIT_S / 10)
        assert monotonic() - start > 1.5 * LIMIT_S
        client.sendall(b"a")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("path", [b"read", b""], ids=["that is read", "that is not read"])
def test_body_in_chunks_of_a_byte_ends_the_connection(port, path):
    head = b"POST /" + path + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(port) as client, suppress(ConnectionError):
        client.sendall(head + b"1\r\na\r\n" * 100_000)
        wait_until_closed(client)


def test_text_of_short_lines_is_left_to_the_application(port):
    lines = b"1\r\n" * 100_000
    head = b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(lines)
    with connect(port, head + lines) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 200")


def test_connection_that_waits_longest_makes_room(server):
    idle = []
    for n in range(1, 5):
        idle.append(connect(server.port))
        until(lambda n=n: len(server.server_state.connections) == n)
    idle.append(connect(server.port))
    wait_until_closed(idle[0])
    # The second makes room for this one.
    with connect(server.port, WHOLE) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
    wait_until_closed(idle[1])
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
