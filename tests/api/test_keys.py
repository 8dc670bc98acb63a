import pytest
from pydantic import ValidationError

from app.settings import Settings
from tests.api.answers import assert_problem, post_tile

GUARDED = ["/bundles", "/bundles/marrow", "/prototypes", "/prototypes/0"]


@pytest.fixture
def guarded(serve):
    return serve(api_keys=("first-key", "schlüssel"))


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize("key", [None, "", "wrong", "first-ke", "first-key2", "FIRST-KEY"])
def test_without_a_right_key_it_is_401(guarded, path, key):
    response = guarded.get(path, headers={} if key is None else {"X-API-Key": key})
    assert_problem(response, 401, "X-API-Key")
    assert response.headers["WWW-Authenticate"]


def test_analysis_is_refused_without_a_key(guarded, sample):
    assert_problem(post_tile(guarded, sample), 401)


@pytest.mark.parametrize("path", GUARDED)
def test_with_a_right_key_it_is_served(guarded, path):
    assert guarded.get(path, headers={"X-API-Key": "first-key"}).status_code == 200


def test_analysis_is_served_with_a_key(guarded, sample):
    guarded.headers["X-API-Key"] = "first-key"
    assert post_tile(guarded, sample).status_code == 200


def test_key_need_not_be_ascii(guarded):
    wrong = guarded.get("/bundles", headers={"X-API-Key": "schlüssl".encode()})
    assert_problem(wrong, 401)
    assert guarded.get("/bundles", headers={"X-API-Key": "schlüssel".encode()}).status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/openapi.json", "/docs"])
def test_health_and_documentation_are_open(guarded, path):
    assert guarded.get(path).status_code == 200


def test_keys_are_asked_for_before_anything_is_told(guarded):
    for path in ("/bundles/other", "/prototypes/99"):
        assert_problem(guarded.get(path), 401)


def test_no_key_is_asked_for_when_none_is_set(client):
    assert client.get("/bundles", headers={"X-API-Key": "anything"}).status_code == 200


def test_keys_come_from_the_environment_and_are_not_shown(monkeypatch):
    monkeypatch.setenv("MARROWSCOPE_API_KEYS", '["a-secret"]')
    settings = Settings()
    assert [key.get_secret_value() for key in settings.api_keys] == ["a-secret"]
    assert "a-secret" not in repr(settings)


def test_empty_key_is_no_key():
    """A key of no characters would let in whoever sends none."""
    with pytest.raises(ValidationError):
        Settings(api_keys=("",))
