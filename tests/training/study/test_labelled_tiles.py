from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from app.pipeline.crops import pictures
from tests.drawing import draw_tile, grid_of_centres
from training.errors import DataError
from training.study.labelled_tiles import LabelledTiles, cut_labelled_tiles, split_into_blocks

HEADER = "tile,index,label\n"


@pytest.fixture
def directory(tmp_path):
    """Two tiles of each label, drawn at 20×: half as large as the pipeline wants them."""
    (tmp_path / "tiles").mkdir()
    shape = (112, 112)
    rows = [(f"{label}_{i}", i, label) for label in ("follicular_lymphoma", "reactive_tissue") for i in (1, 2)]
    for seed, (name, _, _) in enumerate(rows):
        tile = draw_tile(grid_of_centres(shape, step=28), shape=shape, radius=6, seed=seed)
        Image.fromarray(tile).save(tmp_path / "tiles" / f"{name}.png")
    (tmp_path / "labels.csv").write_text(HEADER + "".join(f"{a},{b},{c}\n" for a, b, c in rows), encoding="utf-8")
    return tmp_path


def test_tiles_are_cut_at_twice_their_scale_and_kept(directory):
    tiles = cut_labelled_tiles(directory)
    assert tiles.tiles[0] == "follicular_lymphoma_1"
    np.testing.assert_array_equal(tiles.positive, [1, 1, 0, 0])
    counts = np.bincount(tiles.unlabelled.tile_index, minlength=4)
    assert counts.min() >= 4
    assert 112 < tiles.unlabelled.centroids.max() < 224
    # A radius of 6 px is one of 12 at twice the scale.
    assert tiles.unlabelled.crops.shape[1:] == (32, 32, 7)
    dark = (pictures(tiles.unlabelled.crops).mean(axis=3) < 250).sum(axis=(1, 2))
    assert np.median(dark) == pytest.approx(np.pi * 12**2, rel=0.3)

    tiles.save(directory)
    again = LabelledTiles.load(directory)
    np.testing.assert_array_equal(again.unlabelled.crops, tiles.unlabelled.crops)
    np.testing.assert_array_equal(again.blocks, tiles.blocks)
    assert again.tiles == tiles.tiles


def test_cells_of_another_version_are_refused(directory):
    tiles = cut_labelled_tiles(directory)
    replace(tiles, unlabelled=replace(tiles.unlabelled, crops=pictures(tiles.unlabelled.crops))).save(directory)
    with pytest.raises(DataError, match=r"tile_cells\.npz is of another version; make it anew with .*tile-cells"):
        LabelledTiles.load(directory)


def test_blocks_are_runs_of_each_label_in_the_order_of_its_index():
    order = np.array([8, 7, 6, 5, 4, 3, 2, 1, 1, 2, 3, 4])
    positive = np.array([1] * 8 + [0] * 4)
    np.testing.assert_array_equal(split_into_blocks(order, positive), [3, 3, 2, 2, 1, 1, 0, 0, 0, 1, 2, 3])


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda at: (at / "labels.csv").unlink(), "labels.csv does not exist"),
        (lambda at: (at / "labels.csv").write_text(HEADER, encoding="utf-8"), "no label for follicular_lymphoma_1"),
    ],
)
def test_tiles_without_labels_are_refused(directory, break_it, message):
    break_it(directory)
    with pytest.raises(DataError, match=message):
        cut_labelled_tiles(directory)


def test_cells_that_were_not_cut_yet_say_how_to_cut_them(tmp_path):
    with pytest.raises(DataError, match="evaluate tile-cells"):
        LabelledTiles.load(tmp_path)
