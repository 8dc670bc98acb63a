import json
import logging
import os

import pytest
from starlette.requests import Request

from app.access.keys import add_key, remove_key
from app.api.http.keys import require_key
from tests.api.answers import assert_problem, post_tile
from tests.keys_file import write_keys

GUARDED = ["/bundles", "/bundles/marrow", "/prototypes", "/prototypes/0"]


@pytest.fixture
def keys_file(tmp_path):
    return write_keys(tmp_path / "keys.json", scanner="first-key", München="schlüssel")


@pytest.fixture
def guarded(serve, keys_file):
    return serve(keys_file=keys_file)


def status(client, key):
    return client.get("/bundles", headers={"X-API-Key": key.encode()}).status_code


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize("key", [None, "", "wrong", "first-ke", "first-key2", "FIRST-KEY", "scanner"])
def test_without_a_right_key_it_is_401(guarded, path, key):
    response = guarded.get(path, headers={} if key is None else {"X-API-Key": key})
    assert_problem(response, 401, "X-API-Key")
    assert response.headers["WWW-Authenticate"] == "X-API-Key"


def test_what_the_file_says_is_not_a_key(guarded, keys_file):
    for entry in json.loads(keys_file.read_text(encoding="utf-8")):
        assert status(guarded, entry["sha256"]) == status(guarded, entry["name"]) == 401


def test_analysis_is_refused_without_a_key(guarded, sample):
    assert_problem(post_tile(guarded, sample), 401)


def test_upload_is_not_read_without_a_key(guarded):
    """A body that breaks off is a 400 to who may send it; to others it is as if there were none."""
    broken = {"content": b"--x\r\nbroken", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}
    assert_problem(guarded.post("/analyze", **broken), 401)
    broken["headers"]["X-API-Key"] = "first-key"
    assert_problem(guarded.post("/analyze", **broken), 400)


@pytest.mark.parametrize("path", GUARDED)
def test_with_a_right_key_it_is_served(guarded, path):
    assert guarded.get(path, headers={"X-API-Key": "first-key"}).status_code == 200


def test_analysis_is_served_with_a_key(guarded, sample):
    guarded.headers["X-API-Key"] = "first-key"
    assert post_tile(guarded, sample).status_code == 200


def test_key_need_not_be_ascii(guarded):
    assert status(guarded, "schlüssl") == 401
    assert status(guarded, "schlüssel") == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/openapi.json", "/docs"])
def test_health_and_documentation_are_open(guarded, path):
    assert guarded.get(path).status_code == 200


def test_keys_are_asked_for_before_anything_is_told(guarded):
    for path in ("/bundles/other", "/prototypes/99"):
        assert_problem(guarded.get(path), 401)


def test_no_key_is_asked_for_when_none_is_set(client):
    assert client.get("/bundles", headers={"X-API-Key": "anything"}).status_code == 200


@pytest.mark.parametrize(("key", "name"), [("schlüssel", "München"), ("first-key", "scanner")])
def test_request_knows_whose_key_it_is(guarded, key, name):
    request = Request({"type": "http", "app": guarded.app, "headers": [(b"x-api-key", key.encode())]})
    require_key(request)
    assert request.state.key_name == name


def test_request_has_no_name_where_no_key_is_asked_for(client):
    request = Request({"type": "http", "app": client.app, "headers": [(b"x-api-key", b"anything")]})
    require_key(request)
    assert request.state.key_name is None


def test_keys_are_added_and_revoked_while_it_runs(guarded, keys_file):
    token = add_key(keys_file, "new")
    assert status(guarded, token) == status(guarded, "first-key") == 200
    remove_key(keys_file, "scanner")
    assert status(guarded, token) == 200
    assert status(guarded, "first-key") == 401


def test_key_removed_within_a_tick_of_the_clock_is_refused(guarded, keys_file):
    token = add_key(keys_file, "new")
    written = os.stat(keys_file)
    assert status(guarded, token) == 200
    remove_key(keys_file, "new")
    os.utime(keys_file, ns=(written.st_atime_ns, written.st_mtime_ns))
    assert status(guarded, token) == 401


def test_nobody_gets_in_when_the_last_key_is_removed(guarded, keys_file):
    for name in ("scanner", "München"):
        remove_key(keys_file, name)
    for key in ("", "first-key", "schlüssel"):
        assert status(guarded, key) == 401
    assert guarded.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_text(""),
        lambda path: path.write_text("{}"),
        lambda path: path.write_text('[{"name": "scanner"}]'),
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
    ],
    ids=["missing", "empty", "no list", "half a key", "cut"],
)
def test_nobody_gets_in_while_the_file_is_broken(guarded, keys_file, damage, caplog):
    whole = keys_file.read_bytes()
    assert status(guarded, "first-key") == 200
    damage(keys_file)
    with caplog.at_level(logging.ERROR):
        for key in ("first-key", "wrong"):
            assert_problem(guarded.get("/bundles", headers={"X-API-Key": key}), 503, "keys")
        ready = guarded.get("/readyz")
    assert_problem(ready, 503, "keys")
    assert str(keys_file.parent) not in ready.text
    assert guarded.get("/livez").status_code == 200
    (message,) = [record.getMessage() for record in caplog.records if "no request is let in" in record.getMessage()]
    assert str(keys_file) in message
    keys_file.write_bytes(whole)
    assert status(guarded, "first-key") == guarded.get("/readyz").status_code == 200


def test_key_of_no_characters_lets_nobody_in(serve, tmp_path):
    """A request without a key has one of no characters."""
    empty = serve(keys_file=write_keys(tmp_path / "keys.json", nobody=""))
    assert empty.get("/bundles").status_code == status(empty, "") == 401


def test_keys_are_not_logged(guarded, caplog):
    with caplog.at_level(logging.DEBUG):
        status(guarded, "first-key")
        status(guarded, "a-wrong-key")
    assert "first-key" not in caplog.text
    assert "a-wrong-key" not in caplog.text
