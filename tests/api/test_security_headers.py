import asyncio
import base64
import hashlib
import re

import pytest

from app.service import Analyzer
from tests.api.answers import assert_problem, post_tile

PATHS = [
    "/",
    "/web/main.js",
    "/docs",
    "/docs/files/swagger-ui.css",
    "/openapi.json",
    "/livez",
    "/readyz",
    "/metrics",
    "/bundles",
    "/bundles/other",
    "/prototypes/0",
    "/prototypes/0?n=x",
    "/analyze",
    "/nothing",
]
FILES = {"/", "/web/main.js", "/docs", "/docs/files/swagger-ui.css"}
SENSITIVE = "a-path-that-nobody-is-told"


def policy(response):
    return dict(rule.split(" ", 1) for rule in response.headers["Content-Security-Policy"].split("; "))


def assert_safe(response):
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    rules = policy(response)
    assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert not any("unsafe" in rule or "http" in rule or "*" in rule for rule in rules.values())
    # Browsers take several policies, and proxies several lengths of life, for the strictest or for none.
    assert all(len(response.headers.get_list(name)) == 1 for name in ("Content-Security-Policy", "Cache-Control"))
    # Whether it is always to be asked for over TLS is known to the proxy that speaks TLS.
    assert "Strict-Transport-Security" not in response.headers


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_has_safe_headers(client, path):
    response = client.get(path)
    assert_safe(response)
    assert response.headers["Cache-Control"] == ("no-cache" if path in FILES else "no-store")


@pytest.mark.parametrize("form", ["json", "geojson", "csv", "overlay"])
def test_no_cache_keeps_what_a_tile_gave(client, sample, form):
    response = post_tile(client, sample, format=form)
    assert response.status_code == 200
    assert_safe(response)
    assert response.headers["Cache-Control"] == "no-store"


def test_refusal_has_them_too(client, sample):
    refused = [post_tile(client, b"no picture"), client.put("/analyze"), client.post("/analyze", content=b"x")]
    assert [response.status_code for response in refused] == [415, 405, 415]
    for response in refused:
        assert_safe(response)
        assert response.headers["Cache-Control"] == "no-store"


def test_failure_tells_nothing_but_its_id(client, sample, monkeypatch):
    async def fail(*_, **__):
        await asyncio.sleep(0)
        raise OSError(f"/home/{SENSITIVE}/marrow")

    for method in ("analyse", "prototypes"):
        monkeypatch.setattr(Analyzer, method, fail)
    for response in (post_tile(client, sample), client.get("/prototypes/0")):
        assert_problem(response, 500)
        assert_safe(response)
        assert response.headers["Cache-Control"] == "no-store"
        assert not re.search(rf"{SENSITIVE}|Traceback|OSError|\.py|line \d", response.text)


def test_docs_run_only_the_one_script_that_is_meant(client):
    response = client.get("/docs")
    (script,) = re.findall(r"<script>(.*?)</script>", response.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy(response)["script-src"] == f"'self' 'sha256-{digest}'"
    for address in re.findall(r'(?:src|href)="([^"]+)"', response.text):
        assert not re.match(r"[a-z]+:|/", address), "relative, so that a proxy may add a path"
        assert client.get(f"/{address}").status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:8000"])
@pytest.mark.parametrize("path", PATHS)
def test_no_other_site_may_read_an_answer(client, path, origin):
    response = client.get(path, headers={"Origin": origin})
    assert not [name for name in response.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", ["/analyze", "/bundles", "/", "/web/main.js", "/docs", "/nothing"])
def test_preflight_is_refused(client, path):
    asked = {
        "Origin": "https://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "X-API-Key",
    }
    response = client.options(path, headers=asked)
    assert response.status_code in {404, 405}
    assert not [name for name in response.headers if name.startswith("access-control-")]
