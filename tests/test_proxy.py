import json
import re
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

import marrowscope
from tests.processes import ran
from tests.proxied import proxied, require_nginx
from tests.served import served, unserved
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.slow

BODY_TIMEOUT = ("client_body_timeout   10s", "client_body_timeout   1s")


def assert_problem(response, status):
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    return problem


def post(port, tile):
    return httpx.post(f"http://127.0.0.1:{port}/analyze", files={"tile": tile}, timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """Of a proxy before one service."""
    require_nginx()
    with (
        served() as (_, address),
        proxied(tmp_path_factory.mktemp("proxy"), [address], timeout=BODY_TIMEOUT) as port,
    ):
        yield port


def test_an_answer_and_its_request_id_pass_through(port, sample):
    response = post(port, sample)
    assert response.status_code == 200
    assert response.headers["x-request-id"] == response.json()["request_id"]
    assert len(response.headers.get_list("x-request-id")) == 1


def test_a_problem_of_the_service_passes_through(port):
    problem = assert_problem(post(port, b"no tile"), 415)
    assert "PNG" in problem["detail"]


def test_a_declared_body_that_is_too_large_is_a_problem(port):
    # 20 MiB are allowed, all told: this tile alone has them.
    assert "20 MiB" in assert_problem(post(port, bytes(20 * 1024**2)), 413)["detail"]


def test_a_body_in_chunks_that_becomes_too_large_is_a_problem(port):
    def chunks():
        for _ in range(21):
            yield bytes(1024**2)

    response = httpx.post(f"http://127.0.0.1:{port}/analyze", content=chunks(), timeout=PATIENCE_S)
    assert_problem(response, 413)


def test_headers_that_are_too_large_are_a_problem(port):
    assert_problem(httpx.get(f"http://127.0.0.1:{port}/livez", headers={"x": "y" * 40_000}, timeout=PATIENCE_S), 400)


def test_a_body_that_stops_is_cut_off(port):
    begin = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
        client.sendall(b"POST /analyze HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        client.recv(4096)  # an answer or the end, and no TimeoutError
    assert time.monotonic() - begin > 0.5


def test_a_page_of_the_proxy_is_the_services_own_and_any_other_is_not(port):
    for origin, status in ((f"http://127.0.0.1:{port}", 200), ("https://evil.example", 403)):
        response = httpx.get(f"http://127.0.0.1:{port}/bundles", headers={"Origin": origin}, timeout=PATIENCE_S)
        assert response.status_code == status


def test_the_numbers_of_one_replica_are_not_shown_as_those_of_all(port):
    assert_problem(httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S), 404)


def test_where_no_replica_answers_the_client_is_told_to_try_again(tmp_path):
    with unserved() as nobody, proxied(tmp_path, [nobody]) as port:
        response = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=PATIENCE_S)
    assert_problem(response, 503)
    assert int(response.headers["retry-after"]) > 0


def test_no_answer_is_lost_when_a_replica_is_killed(tmp_path, sample):
    require_nginx()
    with ExitStack() as stack:
        (doomed, first), (_, second) = (stack.enter_context(served()) for _ in range(2))
        port = stack.enter_context(proxied(tmp_path, [first, second]))
        pool = stack.enter_context(ThreadPoolExecutor(4))
        answers = [pool.submit(post, port, sample) for _ in range(12)]
        until(lambda: any(answer.done() for answer in answers))
        doomed.kill()
        bodies = [answer.result() for answer in answers]
        after = post(port, sample)
    assert {body.status_code for body in bodies} == {200}
    assert all(body.json()["cells"] == after.json()["cells"] for body in bodies)
    lines = [json.loads(line) for line in (tmp_path / "nginx.log").read_text().splitlines() if line.startswith("{")]
    asked = {address for line in lines for address in line["replica"].split(", ")}
    assert asked == {address.removeprefix("http://") for address in (first, second)}
    assert {line["request_id"] for line in lines} >= {body.headers["x-request-id"] for body in bodies}


def test_it_speaks_tls_with_the_certificate_it_is_given(tmp_path):
    require_nginx()
    certificate = "req -x509 -newkey rsa:2048 -nodes -days 1 -keyout key.pem -out fullchain.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    made = ran(["openssl", *certificate.split(), *names], cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    trusted = ssl.create_default_context(cafile=str(tmp_path / "fullchain.pem"))
    with unserved() as nobody, proxied(tmp_path, [nobody], listen="tls.conf") as port:
        response = httpx.get(f"https://localhost:{port}/metrics", verify=trusted, timeout=PATIENCE_S)
        refused = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S)
    assert_problem(response, 404)
    assert refused.status_code == 400


BELOW = (
    "location / {\n            proxy_pass http://marrowscope;",
    "location /tools/marrow/ {\n            proxy_pass http://marrowscope/;",
)
"""A proxy that serves the service below a path, which it removes."""


def test_every_link_leads_on_below_a_path_of_the_proxy(tmp_path, sample):
    require_nginx()
    with (
        served(batches_dir=tmp_path / "batches", batch_workers=1) as (_, address),
        proxied(tmp_path, [address], path=BELOW) as port,
        httpx.Client(timeout=PATIENCE_S) as http,
        marrowscope.Client(f"http://127.0.0.1:{port}/tools/marrow") as client,
    ):
        root = f"http://127.0.0.1:{port}/tools/marrow/"

        def linked(response, url):
            found = http.get(response.url.join(url))
            assert str(found.url).startswith(root)
            assert found.status_code == 200, found.url
            return found

        analysed = http.post(f"{root}analyze", files={"tile": sample})
        for cluster in analysed.json()["clusters"]:
            assert linked(analysed, cluster["prototypes_url"]).headers["content-type"] == "image/png"
        assert [each.prototypes_url for each in client.analyze(sample).clusters] == [
            each["prototypes_url"] for each in analysed.json()["clusters"]
        ]
        assert client.prototypes(0, n=1).n == 1

        document = http.get(f"{root}openapi.json")
        (server,) = document.json()["servers"]
        assert str(document.url.join(server["url"])) == root

        begun = http.post(f"{root}batches", files={"tiles": ("sample.png", sample)})
        batch = linked(begun, begun.headers["Location"])
        assert batch.json()["id"] == begun.json()["id"]
        finished = until(lambda: (now := http.get(batch.url)).json()["state"] == "finished" and now, 150)
        files = {file["name"]: linked(finished, file["url"]) for file in finished.json()["results"]}
        assert "index.html" in files
        for link in re.findall(r'(?:href|src)="([^"#:]+)"', files["index.html"].text):
            linked(files["index.html"], link)
        assert http.delete(batch.url).status_code == 409
