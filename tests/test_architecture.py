"""docs/architecture.md shows the rooms as the import rules have them, and the files that answer one POST /analyze."""

import json
import re
import sys
import tomllib

import pytest

from tests.conftest import REPOSITORY
from tests.processes import ran

PAGE = REPOSITORY / "docs" / "architecture.md"
HEADINGS = {
    "MainThread": "On the event loop",
    "analyse": "On a worker thread",
    "quality": "On the quality thread",
    "measure": "On the measuring thread",
}


@pytest.fixture(scope="module")
def called():
    """The modules that each thread called, in order, in a process of its own."""
    traced = ran([sys.executable, "-m", "tests.tracing"], cwd=REPOSITORY)
    assert traced.returncode == 0, traced.stderr
    return json.loads(traced.stdout)


def test_every_thread_has_a_section(called):
    assert set(called) == set(HEADINGS)


@pytest.mark.parametrize("thread", HEADINGS)
def test_the_page_names_the_files_that_run_in_their_order(called, thread):
    section = re.search(rf"### {HEADINGS[thread]}\n(.*?)(?=\n##)", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("|")][2:]
    named = [path for row in rows for path in re.findall(r"`([\w/]+)\.py`", row[2])]
    assert named == [module.replace(".", "/") for module in called[thread]]


def test_the_page_shows_the_rooms_as_the_import_rules_have_them():
    rules = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = [re.findall(r"app\.\w+", layer) for layer in rules["contracts"][0]["layers"]]
    lines = re.findall(r"(?m)^    (app\..*)$", PAGE.read_text(encoding="utf-8"))
    assert [re.findall(r"app\.\w+", line) for line in lines] == layers
