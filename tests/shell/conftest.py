"""Tiles on disk."""

import numpy as np
import pytest
from PIL import Image

from tests.drawing import draw_tile, encoded, grid_of_centres


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current directory, and one thread."""
    monkeypatch.setenv("MARROWSCOPE_THREADS", "1")
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def tiles(tmp_path):
    """Folder with two tiles that are analysed, and three that cannot be."""
    folder = tmp_path / "tiles"
    folder.mkdir()
    (folder / "one.png").write_bytes(encoded(draw_tile(grid_of_centres())))
    (folder / "two.v2.tif").write_bytes(encoded(draw_tile(grid_of_centres(), seed=1), "TIFF"))
    (folder / "text.png").write_text("not an image")
    (folder / "deep.png").write_bytes(encoded(Image.fromarray(np.zeros((4, 4), np.uint16))))
    (folder / "empty.png").write_bytes(b"")
    return folder
