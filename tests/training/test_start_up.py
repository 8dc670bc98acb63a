"""Help and mistakes are answered at once: libraries are imported when a command needs them, and torch to train only."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import REPOSITORY
from tests.drawing import draw_tile, grid_of_centres
from tests.processes import ran
from training.config import load_config, write_config

SLOW = {"cv2", "matplotlib", "onnxruntime", "PIL", "scipy", "skimage", "sklearn", "torch"}
SHOW = """
import json, sys
from training.__main__ import main
try:
    main()
finally:
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


def imported_by(*arguments, status=0):
    """Return the top-level modules that a command imports, and what it prints."""
    found = ran([sys.executable, "-c", SHOW, *map(str, arguments)], cwd=REPOSITORY)
    assert found.returncode == status, found.stderr
    return set(json.loads(found.stderr.splitlines()[-1])), found.stdout + found.stderr


@pytest.mark.parametrize("words", [(), ("cells",), ("train",), ("export",), ("evaluate",), ("evaluate", "figure")])
def test_help_imports_nothing_that_takes_time(words):
    modules, text = imported_by(*words, "--help")
    assert "Usage:" in text
    assert "typer" in modules
    assert not SLOW & modules


@pytest.fixture
def tiles(tmp_path):
    (tmp_path / "tiles").mkdir()
    shape = (320, 320)
    Image.fromarray(draw_tile(grid_of_centres(shape), shape=shape)).save(tmp_path / "tiles" / "one.png")
    return tmp_path / "tiles"


def test_cutting_cells_needs_no_torch(tiles, tmp_path):
    modules, text = imported_by("cells", tiles, tmp_path / "cells")
    assert "cells of 1 tiles" in text
    assert not {"torch", "sklearn", "matplotlib"} & modules


def test_reporting_needs_no_torch(shipped_bundle, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "detection.json").write_text("{}", encoding="utf-8")
    out = tmp_path / "results.md"
    modules, _ = imported_by("report", tmp_path / "results", out, "--bundle", shipped_bundle)
    assert out.is_file()
    assert not {"torch", "sklearn", "matplotlib"} & modules


@pytest.mark.parametrize("command", ["train", "fit", "export"])
def test_mistake_is_found_before_torch_is_imported(command, tmp_path):
    run = tmp_path / "run"
    write_config(load_config(Path("smoke")), run)
    arguments = {"train": (tmp_path, run, "--config", "smoke"), "fit": (run,), "export": (run, tmp_path / "bundle")}
    modules, text = imported_by(command, *arguments[command], status=1)
    assert "cells.npz does not exist" in " ".join(text.split())
    assert "torch" not in modules
