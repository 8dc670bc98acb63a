"""docs/results.md is what `python -m training report` writes of the measurements in docs/results."""

import sys

from tests.conftest import REPOSITORY
from tests.processes import ran


def test_results_are_those_that_the_report_writes(tmp_path):
    command = [sys.executable, "-m", "training", "report", "docs/results", tmp_path / "results.md"]
    written = ran(command, cwd=REPOSITORY)
    assert written.returncode == 0, written.stderr
    committed = REPOSITORY / "docs" / "results.md"
    assert (tmp_path / "results.md").read_text(encoding="utf-8") == committed.read_text(encoding="utf-8")
