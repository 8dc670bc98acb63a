"""Files and directories are there whole or not at all."""

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from app.files import remove_unfinished, whole_directory, whole_file, write_whole
from tests.conftest import REPOSITORY
from tests.processes import started

ERRORS = [ValueError("no"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full"), OSError("odd")]
PATIENCE_S = 60


def write(path, text, error=None):
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        if error is not None:
            raise error


def fill(target, text, error=None):
    with whole_directory(target) as staged:
        (staged / "a.txt").write_text(text, encoding="utf-8")
        if error is not None:
            raise error


def held(directory):
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*")}


def test_file_takes_its_place_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "new" / "a.json"
    write(path, "first")
    write_whole(b"second\r\n", path)
    assert path.read_bytes() == b"second\r\n"
    assert held(tmp_path) == {"new", "new/a.json"}


@pytest.mark.parametrize("error", ERRORS)
def test_what_fails_leaves_the_file_that_was_there(tmp_path, error):
    path = tmp_path / "a.json"
    write(path, "first")
    with pytest.raises(type(error)):
        write(path, "half", error)
    assert path.read_text(encoding="utf-8") == "first"
    assert held(tmp_path) == {"a.json"}


def test_full_disk_is_named_with_the_file(tmp_path):
    with pytest.raises(OSError, match=r"full.*a\.json") as raised:
        write(tmp_path / "a.json", "half", OSError(errno.ENOSPC, "full"))
    assert raised.value.errno == errno.ENOSPC
    assert raised.value.filename == str(tmp_path / "a.json")


def test_folder_that_cannot_be_made_is_an_error_about_the_file(tmp_path):
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    for target in (tmp_path / "taken" / "a.json", tmp_path / "taken" / "deep" / "a.json"):
        with pytest.raises(OSError) as raised:
            write(target, "text")
        assert raised.value.filename == str(target)


def test_another_file_that_cannot_be_read_keeps_its_name_in_the_error(tmp_path):
    with pytest.raises(FileNotFoundError) as raised, whole_file(tmp_path / "copy.json") as temporary:
        temporary.write_bytes((tmp_path / "missing.json").read_bytes())
    assert raised.value.filename == str(tmp_path / "missing.json")


def test_library_sees_the_suffixes_and_a_long_name_is_no_problem(tmp_path):
    with whole_file(tmp_path / f"{'x' * 240}.geojson.gz") as temporary:
        assert temporary.name.endswith(".geojson.gz")
    assert len(held(tmp_path)) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_permissions_hold_from_the_first_byte_on(tmp_path):
    with whole_file(tmp_path / "keys.json", mode=0o600) as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
        temporary.write_text("secret")
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600


def test_many_writers_of_one_file_leave_one_of_their_files_whole(tmp_path):
    path, texts = tmp_path / "a", [letter * 100_000 for letter in "abcdefgh"]
    threads = [threading.Thread(target=write, args=(path, text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in texts
    assert held(tmp_path) == {"a"}


@pytest.mark.parametrize("kind", ["whole_file", "whole_directory"])
def test_what_a_killed_process_left_can_be_removed(tmp_path, kind):
    program = (
        "import sys; from pathlib import Path; import app.files\n"
        f"with app.files.{kind}(Path(sys.argv[1]) / 'a.json'): print('begun', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, tmp_path]
    with started(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"begun\n"
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".")
    remove_unfinished(tmp_path)
    assert held(tmp_path) == set()


def test_directory_takes_the_place_of_the_one_before_it(tmp_path):
    target = tmp_path / "new" / "one"
    fill(target, "first")
    (target / "leftover.txt").touch()
    fill(target, "second")
    assert held(tmp_path) == {"new", "new/one", "new/one/a.txt"}
    assert (target / "a.txt").read_text(encoding="utf-8") == "second"


@pytest.mark.parametrize("error", ERRORS)
def test_what_fails_leaves_the_directory_that_was_there(tmp_path, error):
    fill(tmp_path / "one", "first")
    with pytest.raises(type(error)):
        fill(tmp_path / "one", "second", error)
    assert held(tmp_path) == {"one", "one/a.txt"}
    assert (tmp_path / "one" / "a.txt").read_text(encoding="utf-8") == "first"


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "refused"), KeyboardInterrupt()])
def test_directory_comes_back_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch, error):
    fill(tmp_path / "one", "first")
    rename = Path.rename

    def fail_second(self, target):
        if self.parent.name == "new":
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_second)
    with pytest.raises(type(error)):
        fill(tmp_path / "one", "second")
    assert held(tmp_path) == {"one", "one/a.txt"}
    assert (tmp_path / "one" / "a.txt").read_text(encoding="utf-8") == "first"


def test_file_that_failed_is_named_where_it_was_meant_to_be(tmp_path):
    with pytest.raises(FileNotFoundError) as raised, whole_directory(tmp_path / "one") as staged:
        (staged / "no" / "a.txt").write_text("", encoding="utf-8")
    assert raised.value.filename == str(tmp_path / "one" / "no" / "a.txt")


def test_directory_is_named_where_no_file_is(tmp_path):
    with pytest.raises(OSError, match="full") as raised:
        fill(tmp_path / "one", "first", OSError(errno.ENOSPC, "full"))
    assert raised.value.filename == str(tmp_path / "one")


def test_parent_that_cannot_be_made_is_an_error_about_the_directory(tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(OSError) as raised:
        fill(tmp_path / "taken" / "one", "text")
    assert raised.value.filename == str(tmp_path / "taken" / "one")
