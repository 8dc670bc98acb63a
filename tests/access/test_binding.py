"""Where `marrowscope serve` may listen with and without keys."""

import pytest
from typer.testing import CliRunner

from app.__main__ import cli
from app.access.binding import Unprotected, check_access, is_loopback
from app.access.keys import InvalidKeys, add_key
from app.settings import Settings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_this_machine_needs_no_key(host):
    assert is_loopback(host)
    check_access(Settings(host=host))


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.168.1.5", "fe80::1", "lab-server", "localhost.evil.example"]
)
def test_other_machines_need_keys_or_the_word_that_they_do_not(host, tmp_path):
    path = tmp_path / "keys.json"
    with pytest.raises(Unprotected, match="--without-keys"):
        check_access(Settings(host=host, keys_file=None))
    check_access(Settings(host=host, keys_file=None, without_keys=True))
    add_key(path, "lab")
    check_access(Settings(host=host, keys_file=path))


@pytest.mark.parametrize("without_keys", [False, True])
def test_it_does_not_start_where_nobody_could_be_let_in(tmp_path, without_keys):
    path = tmp_path / "keys.json"
    for content in (None, "[]"):
        if content:
            path.write_text(content)
        with pytest.raises(Unprotected, match="has no key"):
            check_access(Settings(keys_file=path, without_keys=without_keys))
    path.write_text("[1]")
    with pytest.raises(InvalidKeys):
        check_access(Settings(keys_file=path, without_keys=without_keys))


def test_serve_ends_with_a_message(monkeypatch):
    monkeypatch.delenv("MARROWSCOPE_KEYS_FILE", raising=False)
    result = CliRunner().invoke(cli, ["serve", "--host", "0.0.0.0", "--port", "0"])
    assert result.exit_code == 1
    assert "marrowscope keys add NAME" in result.stderr
    assert "--without-keys" in result.stderr


def test_keys_of_before_are_not_passed_over_in_silence(monkeypatch):
    """With the old setting alone, the service would ask nobody for a key."""
    monkeypatch.setenv("MARROWSCOPE_API_KEYS", '["secret"]')
    with pytest.raises(Unprotected, match="MARROWSCOPE_KEYS_FILE") as caught:
        check_access(Settings())
    assert "secret" not in str(caught.value)
