"""`marrowscope keys add`, `list` and `remove`."""

import hashlib
import json
import os
import re
import stat
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from app.__main__ import cli
from app.access.keys import InvalidKeys, read_keys
from tests.keys_file import write_keys


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("MARROWSCOPE_KEYS_FILE", str(tmp_path / "keys.json"))
    return tmp_path / "keys.json"


def keys(*arguments):
    return CliRunner().invoke(cli, ["keys", *arguments])


def add(name):
    result = keys("add", name)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def test_key_is_printed_once_and_kept_as_its_hash(path):
    result = keys("add", "scanner 2")
    token = result.stdout.removesuffix("\n")
    assert re.fullmatch(r"[\w-]{43}", token)
    assert "scanner 2" in result.stderr
    assert token not in result.stderr
    (entry,) = json.loads(path.read_text(encoding="utf-8"))
    created = datetime.fromisoformat(entry.pop("created"))
    assert datetime.now(UTC) - created < timedelta(minutes=1)
    assert entry == {"name": "scanner 2", "sha256": hashlib.sha256(token.encode()).hexdigest()}
    assert token not in keys("list").output


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_only_its_owner_may_read_the_file(path):
    for name in ("one", "two"):
        add(name)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in path.parent.iterdir()] == ["keys.json"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give files away")
def test_file_stays_with_the_user_of_the_service(path):
    add("one")
    os.chown(path, 10001, 10002)
    add("two")
    keys("remove", "one")
    assert (path.stat().st_uid, path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (10001, 10002, 0o600)


def test_every_key_is_another(path):
    assert len({add(name) for name in ("one", "two", "three")}) == 3
    assert [line.split("  ")[1] for line in keys("list").stdout.splitlines()] == ["one", "two", "three"]


def test_removed_key_is_gone_and_the_others_stay(path):
    add("one")
    two = add("two")
    assert keys("remove", "one").exit_code == 0
    (left,) = read_keys(path)
    assert left.sha256 == hashlib.sha256(two.encode()).hexdigest()


@pytest.mark.parametrize(
    "name", ["", " ", "x" * 81, " lab", "lab ", "a\nb", "a\tb", "a\x1b[31m", "a\u202eb", "Lab", "lab"]
)
def test_name_that_cannot_be_used_is_refused_and_nothing_changes(path, name):
    add("lab")
    before = path.read_bytes()
    result = keys("add", name)
    assert result.exit_code == 1
    assert repr(name.casefold()) in result.stderr.casefold()
    assert result.stdout == ""
    assert path.read_bytes() == before


def test_name_may_be_long_and_of_any_script(path):
    for name in ("x" * 80, "Größe №1", "研究室"):
        add(name)
    assert len(read_keys(path)) == 3


def test_key_that_is_not_there_cannot_be_removed(path):
    add("lab")
    result = keys("remove", "Lab")
    assert result.exit_code == 1
    assert "'Lab'" in result.stderr
    assert "'lab'" in result.stderr


@pytest.mark.parametrize("command", [("add", "new"), ("list",), ("remove", "lab")])
@pytest.mark.parametrize(
    "content", ["", "null", '[{"name": "lab", "sha256": "12", "created": "2026-01-02T03:04:05Z"}]']
)
def test_file_that_is_none_of_keys_is_not_written_over(path, command, content):
    path.write_text(content, encoding="utf-8")
    result = keys(*command)
    assert result.exit_code == 1
    assert "keys.json" in result.stderr
    assert path.read_text(encoding="utf-8") == content


def test_two_names_of_one_key_and_two_keys_of_one_name_are_refused(path):
    write_keys(path, a="same", b="same")
    with pytest.raises(InvalidKeys, match="one key"):
        read_keys(path)
    write_keys(path, a="one", A="two")
    with pytest.raises(InvalidKeys, match="'a'"):
        read_keys(path)


def test_file_must_be_named(monkeypatch):
    monkeypatch.delenv("MARROWSCOPE_KEYS_FILE", raising=False)
    result = keys("add", "lab")
    assert result.exit_code == 1
    assert "MARROWSCOPE_KEYS_FILE" in result.stderr
