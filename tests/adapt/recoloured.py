"""Real tiles, recoloured as a simulated laboratory would show them."""

import numpy as np

from tests.drawing import encoded
from training.cells.tile_files import read_tile, tile_paths
from training.study.protocols.recolour import LABORATORIES

LABORATORY = LABORATORIES["stains of monuseg, sharpened"]


def recoloured_tiles(bm_graz, edge, every=3):
    """The middles of some tiles as PNG, by their names."""
    found = {}
    for path in tile_paths(bm_graz / "tiles")[::every]:
        middle = np.ascontiguousarray(read_tile(path)[200 : 200 + edge, 200 : 200 + edge])
        found[f"{path.stem}.png"] = encoded(LABORATORY.recolour(middle))
    return found
