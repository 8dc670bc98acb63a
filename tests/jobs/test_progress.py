import pytest

from app.jobs.progress import read_progress


@pytest.mark.parametrize(
    "content", [None, b"", b'{"state": "runn', b'{"state": "asleep"}', b'{"state": "running", "slides": "x"}']
)
def test_progress_that_cannot_be_read_is_none(tmp_path, content):
    if content is not None:
        (tmp_path / "progress.json").write_bytes(content)
    assert read_progress(tmp_path) is None


def test_progress_may_say_more_than_is_known(tmp_path):
    (tmp_path / "progress.json").write_text('{"state": "running", "slides": 3, "tiles_done": 7, "new": 1}')
    found = read_progress(tmp_path)
    assert (found.state, found.slides, found.tiles_done, found.failures) == ("running", 3, 7, ())
