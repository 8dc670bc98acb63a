"""The notebooks run from their first cell to their last, on parts of real tiles; on drawn ones where there are none."""

import json
import os
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from PIL import Image

from tests.batch.read.drawn_slides import drawn_pixels
from tests.conftest import REPOSITORY
from tests.processes import ran

NOTEBOOK = REPOSITORY / "docs" / "notebooks" / "cells.ipynb"
LIMIT_S = 280
"""It takes 15 seconds on an idle machine."""


def small_tiles():
    """Two tiles of 300 x 300 pixels: the command must start its workers, and has little to analyse then."""
    data = os.environ.get("MARROWSCOPE_DATA")
    for path in sorted(Path(data).glob("bm_graz/tiles/*.png"))[:2] if data else ():
        with Image.open(path) as tile:
            yield tile.crop((400, 400, 700, 700))


def drawn_tiles():
    for shift in (0, 40):
        yield Image.fromarray(np.roll(np.tile(drawn_pixels(300, 250), (2, 2, 1)), shift, axis=1))


def test_notebook_holds_no_outputs():
    """They could show cells of sets that may not be passed on."""
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_notebook_goes_from_tiles_to_a_figure(tmp_path):
    pytest.importorskip("anndata")
    tiles = tmp_path / "tiles"
    tiles.mkdir()
    for i, tile in enumerate(list(small_tiles()) or drawn_tiles()):
        tile.save(tiles / f"{i}.png")
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    program = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    results = tmp_path / "results"
    environment = {**os.environ, "TILES": str(tiles), "RESULTS": str(results), "MPLBACKEND": "Agg"}
    ended = ran([sys.executable, "-c", program], LIMIT_S, cwd=REPOSITORY, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert matplotlib.image.imread(results / "cells.png").std() > 0
