import errno

import pytest

from training.files import whole_file


def write(path, text, error=None):
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
        if error is not None:
            raise error


def test_file_takes_its_place_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "new" / "a.json"
    write(path, "first")
    write(path, "second")
    assert path.read_text(encoding="utf-8") == "second"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
def test_what_fails_leaves_the_file_before_it(tmp_path, error):
    path = tmp_path / "a.json"
    write(path, "first")
    with pytest.raises(type(error)):
        write(path, "half", error)
    assert path.read_text(encoding="utf-8") == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_is_named_with_the_file(tmp_path):
    with pytest.raises(OSError, match=r"full.*a\.json") as raised:
        write(tmp_path / "a.json", "half", OSError(errno.ENOSPC, "full"))
    assert raised.value.errno == errno.ENOSPC
    assert raised.value.filename == str(tmp_path / "a.json")


def test_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    with pytest.raises(OSError, match=r"taken/a\.json"):
        write(tmp_path / "taken" / "a.json", "text")
