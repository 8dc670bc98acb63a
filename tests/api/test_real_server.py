import http.client
import json
import select
import signal
import socket
import sys
import urllib.error
import urllib.request
from contextlib import suppress

import pytest

from tests.conftest import REPOSITORY
from tests.keys_file import write_keys
from tests.processes import ran
from tests.served import served
from tests.waiting import PATIENCE_S

BOUNDARY = "------------------------marrow"
HEAD = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="tile"; filename="tile.png"\r\n\r\n'.encode()
TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
LIMIT = 20 * 1024**2

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def started():
    """The service and its port."""
    with served() as (process, address):
        yield process, int(address.rpartition(":")[2])


@pytest.fixture
def connection(started):
    found = http.client.HTTPConnection("127.0.0.1", started[1], timeout=PATIENCE_S)
    yield found
    found.close()


def answer(connection):
    """Status, headers and JSON body."""
    response = connection.getresponse()
    return response.status, response.headers, json.loads(response.read())


def pieces(data, size=64_000):
    return (data[start : start + size] for start in range(0, len(data), size))


def assert_problem(found, status):
    code, headers, body = found
    assert code == status, body
    assert headers["Content-Type"] == "application/problem+json"
    assert body["status"] == status
    assert body["request_id"] == headers["X-Request-ID"]


def test_it_is_ready(connection):
    connection.request("GET", "/readyz")
    status, headers, body = answer(connection)
    assert (status, body) == (200, {"status": "ready"})
    assert "server" not in headers


def test_tile_sent_whole_and_in_chunks_gives_the_same_cells(connection, sample):
    connection.request("POST", "/analyze", HEAD + sample + TAIL, MULTIPART)
    status, _, whole = answer(connection)
    assert status == 200
    connection.request("POST", "/analyze", pieces(HEAD + sample + TAIL), MULTIPART, encode_chunked=True)
    status, _, chunked = answer(connection)
    assert status == 200
    assert len(whole["cells"]) > 0
    assert whole["cells"] == chunked["cells"]


def test_body_declared_too_long_is_refused_before_it_is_sent(connection):
    connection.putrequest("POST", "/analyze")
    for name, value in {**MULTIPART, "Content-Length": "25000000", "Expect": "100-continue"}.items():
        connection.putheader(name, value)
    connection.endheaders()
    found = answer(connection)
    assert_problem(found, 413)
    assert found[1]["Connection"] == "close"


def test_chunked_body_is_refused_as_soon_as_it_is_too_long(connection):
    connection.putrequest("POST", "/analyze")
    for name, value in {**MULTIPART, "Transfer-Encoding": "chunked"}.items():
        connection.putheader(name, value)
    connection.endheaders()
    # One byte over the limit, and then the client waits: nothing is left to be read when the answer comes.
    body = HEAD + bytes(LIMIT + 1 - len(HEAD))
    for piece in pieces(body, 1_000_000):
        connection.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    assert_problem(answer(connection), 413)


LARGE = bytes(3 * LIMIT)
"""More than the buffers of both sockets hold."""


def ask(address, path, body, **headers):
    """POST as Python's urllib does: it sends the whole body before it reads, and asks to close the connection."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(address + path, body, headers), timeout=PATIENCE_S)
    return refused.value.code, refused.value.headers, json.load(refused.value)


@pytest.mark.parametrize(
    ("status", "path", "body", "headers"),
    [
        (413, "/analyze", HEAD + LARGE, MULTIPART),
        (422, "/analyze?mmp=0.5", HEAD + LARGE, MULTIPART),
        (403, "/analyze", HEAD + LARGE, {**MULTIPART, "Origin": "https://evil.example"}),
        (400, "/analyze", b"no form" + LARGE[: LIMIT - 100], MULTIPART),
        (400, "/analyze", HEAD.replace(b"\r\n\r\n", b"\r\nX: ") + LARGE[: LIMIT - 1000], MULTIPART),
        (404, "/nothing", LARGE, {}),
        (405, "/livez", LARGE, {}),
        (414, "/" + "a" * 5000, LARGE, {}),
    ],
)
def test_client_that_sends_everything_before_it_reads_gets_the_refusal(started, status, path, body, headers):
    assert_problem(ask(f"http://127.0.0.1:{started[1]}", path, body, **headers), status)


def test_client_that_sends_everything_before_it_reads_is_told_of_a_key_and_of_its_pause(tmp_path):
    keys = write_keys(tmp_path / "keys.json", lab="secret")
    with served(keys_file=keys, body_timeout_s=0.2) as (_, address):
        assert_problem(ask(address, "/analyze", HEAD + LARGE, **MULTIPART), 401)
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=PATIENCE_S)
        connection.putrequest("POST", "/analyze")
        for name, value in {**MULTIPART, "Content-Length": str(LIMIT), "X-API-Key": "secret"}.items():
            connection.putheader(name, value)
        connection.endheaders(HEAD)
        select.select([connection.sock], [], [], PATIENCE_S)
        connection.send(LARGE[: LIMIT - len(HEAD)])
        assert_problem(answer(connection), 408)
        connection.close()


def test_service_goes_on_after_a_client_that_leaves_in_the_middle(started, connection):
    for request in (
        b"POST /analyze HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n",
        b"POST /ana",
        b"\x16\x03\x01\x02",
    ):
        with socket.create_connection(("127.0.0.1", started[1]), PATIENCE_S) as client:
            client.sendall(request + b"\r\n" + HEAD)
    connection.request("GET", "/livez")
    assert answer(connection)[0] == 200


def test_head_has_no_body(connection):
    for path in ("/livez", "/nothing"):
        connection.request("HEAD", path)
        response = connection.getresponse()
        assert response.read() == b""
        assert response.status in {404, 405}


def test_what_is_not_http_ends_the_connection_only(started, connection):
    with socket.create_connection(("127.0.0.1", started[1]), PATIENCE_S) as client:
        client.sendall(b"nonsense\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 400")
    connection.request("GET", "/livez")
    assert answer(connection)[0] == 200


def test_port_that_is_taken_ends_the_start_with_an_error(started):
    command = [sys.executable, "-m", "app", "serve", "--port", str(started[1])]
    ended = ran(command, cwd=REPOSITORY)
    assert ended.returncode != 0
    assert "in use" in ended.stderr


def test_it_ends_in_peace_when_it_is_asked_to():
    with served() as (process, address):
        port = int(address.rpartition(":")[2])
        end_in_peace(process, port)


def end_in_peace(process, port):
    process.send_signal(signal.SIGTERM)
    # The server shuts down in order, and then tells its parent that it was the signal.
    assert process.wait(PATIENCE_S) == -signal.SIGTERM
    assert "Application shutdown complete" in process.stderr.read()
    with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 1):
        pytest.fail("The port still answers.")
