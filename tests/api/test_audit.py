"""What the audit log says of requests, and that none is answered without it."""

import hashlib
import json
import os
from http import HTTPStatus

import pytest

from app.audit.verify import verify
from tests.api.answers import assert_problem, post_tile
from tests.shell.runs import run


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


@pytest.fixture
def service(serve, path):
    return serve(audit_log=path)


def read(path):
    assert verify([path]).findings == []
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_an_answer_is_logged_with_what_repeats_it_and_nothing_more(service, path, sample):
    answer = service.post("/analyze?mpp=0.25&prototypes=1", files={"tile": ("Smith-John.png", sample)}).json()
    (line,) = read(path)
    record = line["answer"]
    assert line["request_id"] == answer["request_id"]
    assert line["tile_sha256"] == hashlib.sha256(sample).hexdigest()
    assert (line["status"], line["format"], line["key"], line["client"]) == (200, "json", None, "testclient")
    assert record["parameters"] == answer["parameters"]
    assert record["bundle"] == answer["bundle"]
    assert (record["code_version"], record["result_sha256"]) == (answer["code_version"], answer["result_sha256"])
    assert (record["n_cells"], record["label"]) == (len(answer["cells"]), answer["label"]["value"])
    assert record["flags"] == [flag["code"] for flag in answer["quality"]["flags"]]
    assert "Smith" not in path.read_text()
    assert len(path.read_bytes()) < 3000


@pytest.mark.parametrize("form", ["geojson", "csv", "overlay", "labels", "tile"])
def test_every_format_is_logged_with_the_hash_of_its_json(service, path, sample, sample_answer, form):
    assert post_tile(service, sample, format=form).status_code == HTTPStatus.OK
    (line,) = read(path)
    assert (line["format"], line["answer"]["result_sha256"]) == (form, sample_answer["result_sha256"])


def test_refusals_are_logged_too(service, path, sample):
    refusals = [
        (415, lambda: post_tile(service, b"no image")),
        (422, lambda: post_tile(service, sample, mpp="x" * 500)),
        (422, lambda: post_tile(service, sample, patient="Smith")),
        (404, lambda: post_tile(service, sample, bundle="\ud800 none".encode(errors="surrogatepass"))),
        (406, lambda: service.post("/analyze", files={"tile": sample}, headers={"Accept": "text/html"})),
        (400, lambda: service.post("/analyze", files={"other": sample})),
        (415, lambda: service.post("/analyze", content=sample)),
        (413, lambda: post_tile(service, b"x" * (21 * 1024**2))),
        (431, lambda: service.post("/analyze", headers={f"x-{i}": "" for i in range(100)})),
    ]
    for status, ask in refusals:
        assert ask().status_code == status
    lines = read(path)
    assert [line["status"] for line in lines] == [status for status, _ in refusals]
    assert all(line["answer"] is None for line in lines)
    assert lines[0]["tile_sha256"] == hashlib.sha256(b"no image").hexdigest()
    assert lines[1]["asked"] == {"mpp": "x" * 80}
    assert "Smith" not in path.read_text()


def test_the_name_of_the_key_is_logged_and_so_is_who_has_none(serve, path, tmp_path, sample, monkeypatch):
    keys = tmp_path / "keys.json"
    monkeypatch.setenv("MARROWSCOPE_KEYS_FILE", str(keys))
    token = run("keys", "add", "scanner 2").stdout.strip()
    service = serve(audit_log=path, keys_file=keys)
    assert post_tile(service, sample).status_code == HTTPStatus.UNAUTHORIZED
    service.headers["X-API-Key"] = token
    assert post_tile(service, sample).status_code == HTTPStatus.OK
    assert [(line["status"], line["key"]) for line in read(path)] == [(401, None), (200, "scanner 2")]
    assert token not in path.read_text()


def test_what_crashes_is_logged(service, path, sample, monkeypatch):
    monkeypatch.setattr("app.service.analyse", lambda *_, **__: 1 / 0)
    assert post_tile(service, sample).status_code == HTTPStatus.INTERNAL_SERVER_ERROR
    assert [line["status"] for line in read(path)] == [500]


def test_other_requests_are_not_logged(service, path):
    for url in ("/livez", "/readyz", "/bundles", "/metrics", "/analyze"):
        service.get(url)
    assert read(path) == []


@pytest.mark.parametrize("form", ["json", "overlay"])
def test_what_cannot_be_logged_is_not_answered_and_readyz_says_why(service, path, sample, form, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:10]))
    assert_problem(post_tile(service, sample, format=form), 503, "No space left", "audit log")
    assert_problem(post_tile(service, b"no image"), 503, "audit log")
    response = service.get("/readyz")
    assert_problem(response, 503, "No space left")
    assert str(path) not in response.text
    assert path.read_bytes() == b""
    monkeypatch.undo()
    assert service.get("/readyz").status_code == HTTPStatus.OK
    assert post_tile(service, sample, format=form).status_code == HTTPStatus.OK
    assert [line["event"] for line in read(path)] == ["writable again", "analyze"]


def test_a_log_that_cannot_be_made_stops_nothing_but_answers(serve, tmp_path, sample):
    (tmp_path / "file").write_text("")
    service = serve(audit_log=tmp_path / "file" / "audit.jsonl")
    assert service.get("/livez").status_code == HTTPStatus.OK
    assert_problem(service.get("/readyz"), 503, "audit log")
    assert_problem(post_tile(service, sample), 503, "audit log")
    assert service.get("/bundles").status_code == HTTPStatus.OK
