"""The notebooks run from their first cell to their last, on parts of the sample tile."""

import io
import json
import os
import sys

import matplotlib.image
import pytest
from PIL import Image

from tests.conftest import REPOSITORY
from tests.processes import ran

NOTEBOOK = REPOSITORY / "docs" / "notebooks" / "cells.ipynb"
LIMIT_S = 280
"""It takes 15 seconds on an idle machine."""


def test_notebook_holds_no_outputs():
    """They could show cells of sets that may not be passed on."""
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_notebook_goes_from_tiles_to_a_figure(sample, tmp_path):
    tiles = tmp_path / "tiles"
    tiles.mkdir()
    # Small tiles: the command must start its workers, and has little to analyse then.
    with Image.open(io.BytesIO(sample)) as image:
        for left in (0, 200):
            image.crop((left, 100, left + 300, 400)).save(tiles / f"{left}.png")
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    program = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    results = tmp_path / "results"
    environment = {**os.environ, "TILES": str(tiles), "RESULTS": str(results), "MPLBACKEND": "Agg"}
    ended = ran([sys.executable, "-c", program], LIMIT_S, cwd=REPOSITORY, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert matplotlib.image.imread(results / "cells.png").std() > 0
