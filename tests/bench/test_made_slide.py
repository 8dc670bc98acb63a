from contextlib import closing

import numpy as np
import pytest
from typer.testing import CliRunner

from app.batch.read.open import open_slide
from app.batch.read.slide import Window
from bench.made_slide import cli, map_of_units, write_assembled, write_large
from bench.tiles import SAMPLE, drawn

TILES = [drawn(400, seed) for seed in range(2)]
SIDE = 3000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "slide.tif"
    write_large(path, TILES, SIDE, 0.5, seed=0)
    with closing(open_slide(path, max_pixels=1)) as slide:
        yield slide


def test_a_large_slide_has_its_size_scale_and_share_of_tissue(made):
    assert (made.width, made.height, made.metadata.scale.mpp_x) == (SIDE, SIDE, pytest.approx(0.25))
    overview = made.read(Window(0, 0, SIDE, SIDE), 16).astype(int)
    is_glass = (overview.min(axis=-1) > 235) & (np.ptp(overview, axis=-1) < 6)
    assert is_glass.mean() == pytest.approx(0.5, abs=0.06)
    assert is_glass[[0, 0, -1, -1], [0, -1, 0, -1]].all()
    assert not is_glass[90:98, 90:98].any()


def test_its_levels_are_those_of_its_pixels_and_lie_where_they_do(made):
    middle = Window(1024, 1024, 1024, 1024)
    means, level = made.read(middle).reshape(256, 4, 256, 4, 3).mean((1, 3)), made.read(middle, 4)
    off = {shift: np.abs(np.roll(level, shift, (0, 1)) - means).mean() for shift in ((0, 0), (0, 1), (1, 0))}
    assert off[0, 0] < 10  # what JPEG makes of pixels that are noisy
    assert min(off[0, 1], off[1, 0]) > 1.5 * off[0, 0]


def test_its_tissue_is_the_tiles_mirrored(made):
    block = made.read(Window(1024, 1024, 1024, 1024)).astype(int)[::-1, ::-1]
    differences = [np.abs(block - tile[:1024, :1024]).mean() for tile in TILES]
    assert min(differences) < 8 < max(differences)


@pytest.mark.parametrize("share", [0, 0.3, 1])
def test_the_blob_covers_what_it_should_at_any_size(share):
    units = map_of_units(100_000, share, n_tiles=11, seed=3, pad=64)
    n = -(-100_000 // 256)
    assert units.shape == (448, 448)
    assert (units[:n, :n] < 11 * 64).mean() == pytest.approx(share, abs=1e-4)
    assert units.min() >= 0


def test_assembled_tiles_keep_every_pixel(tmp_path):
    tiles = [tile[:600, :500] for tile in TILES] * 3
    write_assembled(tmp_path / "slide.tif", tiles)
    with closing(open_slide(tmp_path / "slide.tif", max_pixels=1)) as slide:
        assert (slide.width, slide.height, slide.metadata.scale.mpp_x) == (2000, 1200, pytest.approx(0.25))
        for i, tile in enumerate(tiles):
            np.testing.assert_array_equal(slide.read(Window(i // 4 * 600, i % 4 * 500, 500, 600)), tile)
        assert (slide.read(Window(600, 1000, 1000, 600)) == 251).all()


def test_the_command_writes_a_slide_of_the_wanted_side(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.made_slide.default_tiles", lambda: [SAMPLE])
    result = CliRunner().invoke(cli, [str(tmp_path / "slide.tif"), "--side", "700", "--tissue", "1"])
    assert result.exit_code == 0, result.output
    with closing(open_slide(tmp_path / "slide.tif", max_pixels=1)) as slide:
        assert (slide.width, slide.height) == (700, 700)
