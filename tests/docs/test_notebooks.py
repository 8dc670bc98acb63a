"""The notebooks run from their first cell to their last, on tiles that are drawn, or real ones where they are."""

import json
import os
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from tests.batch.read.drawn_slides import drawn_pixels
from tests.conftest import REPOSITORY
from tests.drawing import encoded
from tests.processes import ran

NOTEBOOK = REPOSITORY / "docs" / "notebooks" / "cells.ipynb"
LIMIT_S = 170


def real_tiles() -> list[Path]:
    data = os.environ.get("MARROWSCOPE_DATA")
    return sorted(Path(data).glob("bm_graz/**/*.png"))[:2] if data else []


def test_notebook_holds_no_outputs():
    """They could show cells of sets that may not be passed on."""
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


@pytest.mark.slow
def test_notebook_goes_from_tiles_to_a_figure(tmp_path):
    pytest.importorskip("anndata")
    tiles = tmp_path / "tiles"
    tiles.mkdir()
    real = real_tiles()
    for path in real:
        (tiles / path.name).symlink_to(path)
    if not real:
        for name, shift in (("a", 0), ("b", 40)):
            pixels = np.roll(np.tile(drawn_pixels(300, 250), (2, 2, 1)), shift, axis=1)
            (tiles / f"{name}.png").write_bytes(encoded(pixels))
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    program = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    results = tmp_path / "results"
    environment = {**os.environ, "TILES": str(tiles), "RESULTS": str(results), "MPLBACKEND": "Agg"}
    ended = ran([sys.executable, "-c", program], LIMIT_S, cwd=REPOSITORY, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert matplotlib.image.imread(results / "cells.png").std() > 0
