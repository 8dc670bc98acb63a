"""What the repository holds, and its Makefile."""

import re
import shutil

import pytest

from tests.conftest import REPOSITORY
from tests.processes import ran

MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
BINARY = {".png", ".jpg", ".tif", ".svs", ".onnx", ".safetensors"}


@pytest.fixture(scope="module")
def tracked():
    """The text of every text file that git knows, by its path from the top of the repository."""
    if shutil.which("git") is None or not (REPOSITORY / ".git").exists():
        pytest.skip("This is not a git checkout.")
    listed = ran(["git", "ls-files", "-z"], cwd=REPOSITORY).stdout
    assert listed
    paths = [REPOSITORY / path for path in listed.split("\0") if path]
    return {
        path.relative_to(REPOSITORY): path.read_text("utf-8")
        for path in paths
        if path.suffix not in BINARY and path.is_file()
    }


def test_every_target_is_phony_and_explained():
    targets = set(re.findall(r"(?m)^([a-z][a-z-]*):", MAKEFILE))
    phony = set(re.search(r"(?m)^\.PHONY: (.*)$", MAKEFILE)[1].split())
    explained = set(re.findall(r"(?m)^([a-z-]+):.*## \S", MAKEFILE))
    assert targets == phony == explained


def test_data_and_runs_are_not_committed(tracked):
    for path in tracked:
        assert path.suffix not in {".pkl", ".pt", ".pth", ".npy", ".npz", ".joblib", ".svs"}, path
        assert path.parts[0] not in {"data", "runs"}


def test_no_conflict_is_left_unresolved(tracked):
    for path, text in tracked.items():
        assert not re.search(r"(?m)^(?:<{7}|>{7})(?: |$)", text), path


def test_no_line_is_left_to_be_done(tracked):
    for path, text in tracked.items():
        if path.suffix == ".py" and path.name != "test_repository.py":
            assert not re.search(r"\b(?:TODO|FIXME|XXX)\b", text), path
