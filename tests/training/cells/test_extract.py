from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.pipeline.bundle.load import load_bundle
from app.pipeline.crops import from_network, seen, to_network
from app.pipeline.networks.encode import encode
from app.pipeline.presets import PAPER
from app.pipeline.run import analyse, analyse_stages
from tests.drawing import draw_tile, encoded, grid_of_centres
from training.cells.extract import CELLS, Cells, extract_cells
from training.cells.tile_files import tile_paths
from training.cells.tile_labels import TileLabels
from training.errors import DataError, LabelsError


@pytest.fixture
def tiles(tmp_path):
    """A directory with two drawn tiles, a blank one and something else."""
    for name, seed in (("b.png", 1), ("a.TIF", 2)):
        Image.fromarray(draw_tile(grid_of_centres(), seed=seed)).save(tmp_path / name)
    Image.new("RGB", (50, 50), "white").save(tmp_path / "c.jpg")
    (tmp_path / "notes.txt").write_text("no tile")
    return tmp_path


def test_tiles_are_found_by_suffix_and_sorted(tiles):
    assert [path.name for path in tile_paths(tiles)] == ["a.TIF", "b.png", "c.jpg"]


@pytest.mark.parametrize("place", ["", "nowhere"])
def test_directory_without_tiles_is_an_error(tmp_path, place):
    with pytest.raises(DataError, match="holds no"):
        tile_paths(tmp_path / place)


def test_every_drawn_nucleus_becomes_a_cell_of_its_tile(tiles):
    cells = extract_cells(tile_paths(tiles), PAPER, 0.25)
    n = len(grid_of_centres())
    assert cells.tiles == ("a", "b", "c")
    assert np.bincount(cells.tile_index, minlength=3).tolist() == [n, n, 0]
    assert cells.crops.shape == (2 * n, 32, 32, 7)
    assert cells.crops.dtype == np.uint8
    assert np.abs(cells.areas_px - np.pi * 11**2).max() < 60
    assert np.isfinite(cells.stain_matrices[:2]).all()
    assert np.isnan(cells.stain_matrices[2]).all()
    assert np.isnan(cells.cellularity).tolist() == [False, False, True]
    # Dark in the middle, white in the corners.
    assert cells.crops[:, 16, 16, :6].max() < 200
    assert (cells.crops[:, ::31, ::31, :3] == 255).all()


def test_what_is_trained_on_is_what_is_served(tiles, shipped_bundle):
    bundle = load_bundle(shipped_bundle, threads=1)
    path = tiles / "b.png"
    cells = extract_cells([path], bundle.manifest.segmentation, bundle.manifest.mpp, network=bundle.segmenter)
    analysis = analyse(path.read_bytes(), bundle, max_pixels=10**6, precision="full")
    served = analysis.cells.cluster_probs
    assert cells.cellularity == pytest.approx([analysis.tissue.cellularity], nan_ok=True)
    manifest = bundle.manifest
    crops = seen(cells.crops, manifest.architecture.crops)
    encoded = encode(crops, bundle.backend, manifest.n_clusters, temperature=manifest.temperature)
    np.testing.assert_array_equal(encoded.cluster_probs, served)


def test_crops_are_those_that_a_bundle_with_surroundings_is_served(tmp_path, seeing_bundle):
    """The last nucleus is cut by the border: it is no cell, but it is white in the surroundings of others."""
    path = tmp_path / "one.png"
    path.write_bytes(encoded(draw_tile([(60, 60), (60, 168), (60, 202)], radius=14)))
    analysis, stages = analyse_stages(path.read_bytes(), seeing_bundle, max_pixels=10**6)
    assert analysis.n_cut > 0
    cells = extract_cells([path], seeing_bundle.manifest.segmentation, seeing_bundle.manifest.mpp)
    np.testing.assert_array_equal(cells.crops, stages.crops)


def test_tiles_without_any_nucleus_are_an_error(tmp_path):
    (tmp_path / "white.png").write_bytes(encoded(np.full((60, 60, 3), 255, np.uint8)))
    with pytest.raises(DataError, match="No nucleus"):
        extract_cells(tile_paths(tmp_path), PAPER, 0.25)


def test_hidden_files_are_no_tiles(tiles):
    """macOS leaves `._a.png` beside `a.png` on other file systems."""
    (tiles / "._a.png").write_bytes(b"no image")
    assert len(tile_paths(tiles)) == 3


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("nowhere")], ids=["directory", "dead link"])
def test_tile_that_cannot_be_read_is_named(tmp_path, make):
    make(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png cannot be read"):
        extract_cells(tile_paths(tmp_path), PAPER, 0.25)


def test_labels_go_with_the_cells(tiles, tmp_path):
    paths = [*tile_paths(tiles)[:2]] * 4
    labels = TileLabels(np.array([0, 1] * 4), np.arange(8))
    cells = extract_cells(paths, PAPER, 0.25, labels=labels)
    cells.save(tmp_path / "new")
    found = Cells.load(tmp_path / "new").labels
    assert found.abnormal.tolist() == [0, 1] * 4
    assert found.patients.tolist() == list(range(8))


def test_tile_without_cells_is_named_and_does_not_count(tiles):
    a, b, blank = tile_paths(tiles)
    labels = TileLabels(np.array([0, 1] * 4), None)
    assert extract_cells([a, b, blank], PAPER, 0.25).empty_tiles == ("c",)
    with pytest.raises(LabelsError, match=r"Without c, where no cell was found: 'abnormal' .* found 3"):
        extract_cells([a, blank, a, b, a, b, a, b], PAPER, 0.25, labels=labels)


def test_progress_is_shown_for_each_tile(tiles):
    seen = []

    def track(paths):
        for path in paths:
            seen.append(path.name)
            yield path

    extract_cells(tile_paths(tiles), PAPER, 0.25, track)
    assert seen == ["a.TIF", "b.png", "c.jpg"]


def test_cells_come_back_as_they_were_saved(kept_cells, tmp_path):
    cells = kept_cells
    cells.save(tmp_path / "new")
    found = Cells.load(tmp_path / "new")
    for name in ("crops", "tile_index", "centroids", "areas_px", "stain_matrices"):
        np.testing.assert_array_equal(getattr(found, name), getattr(cells, name))
    for name, values in cells.views.as_arrays().items():
        np.testing.assert_array_equal(found.views.as_arrays()[name], values)
    assert found.tiles == cells.tiles
    assert found.segmentation == cells.segmentation
    assert len(found) == len(cells) == 120
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["cells.npz"]


def test_directory_without_cells_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="training cells"):
        Cells.load(tmp_path)


def test_network_values_come_back_as_crops():
    every = np.arange(256, dtype=np.uint8).repeat(12).reshape(1, 32, 32, 3)
    np.testing.assert_array_equal(from_network(to_network(every)), every)


def test_same_cells_are_the_same_with_other_labels(cells):
    labels = TileLabels(np.array([0, 1, 1]), None)
    assert replace(cells, labels=labels).same_cells(cells)
    others = (
        {"crops": 255 - cells.crops},
        {"tiles": ("a", "b", "x")},
        {"tile_index": cells.tile_index[::-1]},
        {"centroids": cells.centroids + 1},
        {"areas_px": cells.areas_px + 1},
    )
    for changes in others:
        assert not replace(cells, **changes).same_cells(cells)


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: b"no archive"])
def test_damaged_cells_are_named(kept_cells, tmp_path, damage):
    kept_cells.save(tmp_path)
    path = tmp_path / CELLS
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=rf"{CELLS} is damaged"):
        Cells.load(tmp_path)


def test_altered_byte_is_noticed(kept_cells, tmp_path):
    kept_cells.save(tmp_path)
    path = tmp_path / CELLS
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 255
    path.write_bytes(data)
    with pytest.raises(DataError, match=rf"{CELLS} is damaged"):
        Cells.load(tmp_path)


def test_cells_of_another_version_are_refused(tmp_path):
    np.savez(tmp_path / CELLS, crops=np.zeros((1, 32, 32, 3), np.uint8))
    with pytest.raises(DataError, match="another version"):
        Cells.load(tmp_path)


def test_cells_that_were_cut_without_their_surroundings_are_refused(cells, tmp_path):
    cells.save(tmp_path)
    with pytest.raises(DataError, match=rf"{CELLS} is of another version; make it anew"):
        Cells.load(tmp_path)
