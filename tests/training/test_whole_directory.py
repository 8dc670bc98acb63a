import errno

import pytest

from training.whole_directory import whole_directory


def fill(target, text, error=None):
    with whole_directory(target) as staged:
        (staged / "a.txt").write_text(text, encoding="utf-8")
        if error is not None:
            raise error


def held(directory):
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*")}


def test_directory_takes_the_place_of_the_one_before_it(tmp_path):
    target = tmp_path / "new" / "one"
    fill(target, "first")
    (target / "leftover.txt").touch()
    fill(target, "second")
    assert held(tmp_path) == {"new", "new/one", "new/one/a.txt"}
    assert (target / "a.txt").read_text(encoding="utf-8") == "second"


@pytest.mark.parametrize(
    "error", [ValueError("no"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full"), OSError("odd")]
)
def test_what_fails_leaves_the_directory_before_it(tmp_path, error):
    fill(tmp_path / "one", "first")
    with pytest.raises(type(error)):
        fill(tmp_path / "one", "second", error)
    assert held(tmp_path) == {"one", "one/a.txt"}
    assert (tmp_path / "one" / "a.txt").read_text(encoding="utf-8") == "first"


def test_file_that_failed_is_named_where_it_was_to_be(tmp_path):
    with pytest.raises(FileNotFoundError) as raised, whole_directory(tmp_path / "one") as staged:
        (staged / "no" / "a.txt").write_text("", encoding="utf-8")
    assert raised.value.filename == str(tmp_path / "one" / "no" / "a.txt")


def test_directory_is_named_where_no_file_is(tmp_path):
    with pytest.raises(OSError, match="full") as raised:
        fill(tmp_path / "one", "first", OSError(errno.ENOSPC, "full"))
    assert raised.value.filename == str(tmp_path / "one")


def test_parent_that_cannot_be_made_is_said_of_the_directory(tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(OSError) as raised:
        fill(tmp_path / "taken" / "one", "text")
    assert raised.value.filename == str(tmp_path / "taken" / "one")
