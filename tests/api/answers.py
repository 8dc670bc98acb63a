"""What every answer of the service has to be, whatever was asked."""

import json
import re
from http import HTTPStatus

from tests.conftest import REPOSITORY

PROBLEM = "application/problem+json"
DECLARED = json.loads((REPOSITORY / "openapi.json").read_text(encoding="utf-8"))["paths"]


def no_constant(name):
    raise AssertionError(f"{name} is not JSON")


def strict_json(text):
    """Parse JSON as RFC 8259 has it: NaN and infinities are errors."""
    return json.loads(text, parse_constant=no_constant)


def check_answer(response):
    """Response hook of every client: id, problem form and declared status of whatever came back."""
    response.read()
    path, method, status = response.request.url.path, response.request.method, response.status_code
    assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-ID"])
    if response.headers.get("content-type", "").endswith("json") and method != "HEAD":
        body = strict_json(response.text)
        assert body.get("request_id", response.headers["X-Request-ID"]) == response.headers["X-Request-ID"]
    if status >= 400 and method != "HEAD":
        assert_problem(response, status)
    for operation in operations(path, method):
        assert str(status) in operation["responses"], (
            f"{method} {path} gave {status}, which openapi.json does not declare"
        )


def operations(path, method):
    """Operations of openapi.json that this request may have met: its own, or of another method those of its path."""
    for template, methods in DECLARED.items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            return [methods[method.lower()]] if method.lower() in methods else list(methods.values())
    return []


def assert_problem(response, status, *words):
    """RFC 9457, with every one of `words` in its detail."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    body = strict_json(response.text)
    assert set(body) == {"type", "title", "status", "detail", "request_id"}
    assert body["type"] == "about:blank"
    assert body["title"] == HTTPStatus(status).phrase
    assert body["status"] == status
    assert body["request_id"] == response.headers["X-Request-ID"]
    assert body["detail"]
    assert ("retry-after" in response.headers) == (status == 503)
    for word in words:
        assert word in body["detail"]


def post_tile(client, tile, filename="tile.png", **query):
    """POST /analyze as a browser or curl does."""
    return client.post("/analyze", files={"tile": (filename, tile)}, params=query)
