import io

import numpy as np
import pytest
from PIL import Image

from app.batch.plan.cut_tiles import EDGE_PX, cut_tiles
from app.batch.read.slide import SlideError
from app.pipeline.bundle.load import read_manifest
from app.pipeline.decode import decode
from tests.batch.read.drawn_slides import write_pyramid

MPP = 0.5
EDGE = EDGE_PX // 2
"""A tile's edge on a slide with half the resolution of the bundle."""


@pytest.fixture(scope="module")
def manifest(shipped_bundle):
    return read_manifest(shipped_bundle)[0]


@pytest.fixture(scope="module")
def pixels(sample):
    """The sample tile, repeated, beside glass."""
    with Image.open(io.BytesIO(sample)) as image:
        tissue = np.tile(np.asarray(image.convert("RGB")), (4, 3, 1))[:2000, :1500]
    glass = np.full((2000, 1300, 3), 250, np.uint8)
    return np.concatenate([tissue, glass], axis=1)


@pytest.fixture(scope="module")
def slide(pixels, tmp_path_factory):
    return write_pyramid(tmp_path_factory.mktemp("slide") / "s1.tif", pixels, mpp=MPP, compression="deflate")


def test_tiles_are_parts_of_the_tissue_at_full_resolution_with_their_scale(slide, pixels, manifest, tmp_path):
    tiles = cut_tiles(slide, tmp_path, 5, manifest, None, 10**8)
    assert len(tiles) == 5
    for path in tiles:
        tile = decode(path.read_bytes(), max_pixels=10**7)
        assert tile.mpp == pytest.approx(MPP, rel=1e-4)
        x, y = (int(part[1:]) for part in path.stem.split("-")[1:])
        assert x + EDGE <= 1500  # none is of glass
        np.testing.assert_array_equal(tile.pixels, pixels[y : y + EDGE, x : x + EDGE])
    rows = {path.stem.split("-")[2] for path in tiles}
    assert len(rows) >= 3  # not all from one corner


def test_slide_gives_as_many_tiles_as_it_has(slide, manifest, tmp_path):
    # Three columns of four tiles; the fourth column has no tissue.
    assert len(cut_tiles(slide, tmp_path, 100, manifest, None, 10**8)) == 12


def test_slide_smaller_than_a_tile_is_cut_to_a_square(pixels, manifest, tmp_path):
    small = write_pyramid(tmp_path / "small.tif", pixels[:300, :400], mpp=MPP, compression="deflate", levels=1)
    (tile,) = cut_tiles(small, tmp_path, 5, manifest, None, 10**8)
    assert decode(tile.read_bytes(), max_pixels=10**7).pixels.shape == (300, 300, 3)


def test_slide_without_a_scale_or_tissue_is_refused(pixels, manifest, tmp_path):
    unscaled = write_pyramid(tmp_path / "unscaled.tif", pixels, mpp=None, compression="deflate")
    with pytest.raises(SlideError, match="say so with --mpp"):
        cut_tiles(unscaled, tmp_path, 5, manifest, None, 10**8)
    assert cut_tiles(unscaled, tmp_path, 1, manifest, MPP, 10**8)
    empty = write_pyramid(tmp_path / "empty.tif", np.full((600, 600, 3), 250, np.uint8), mpp=MPP)
    with pytest.raises(SlideError, match="No tissue was found"):
        cut_tiles(empty, tmp_path, 5, manifest, None, 10**8)
