from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from app.pipeline.crops import crop_cells, pictures
from app.pipeline.nuclei.border import drop_cut_nuclei
from app.pipeline.nuclei.segment import segment
from app.pipeline.presets import DEFAULT
from app.pipeline.stain.unmix import unmix
from tests.drawing import draw_tile
from tests.training.study.drawn_cells import labelled
from training.errors import DataError
from training.study.typed_cells import TypedCells, cut_typed_cells, load_unlabelled, read_enlarged


def test_cells_of_either_kind_are_read_without_types(tmp_path, kept_cells):
    labelled().save(tmp_path / "typed")
    kept_cells.save(tmp_path / "plain")
    assert len(load_unlabelled(tmp_path / "typed")) == 120
    assert np.array_equal(load_unlabelled(tmp_path / "plain").crops, kept_cells.crops)
    with pytest.raises(DataError, match="does not exist"):
        load_unlabelled(tmp_path)


def test_typed_centres_get_what_the_service_would_cut_there(tmp_path):
    """A typed nucleus beside one that the border cuts, at half the scale of the crops."""
    (tmp_path / "tiles").mkdir()
    Image.fromarray(draw_tile([(50, 58), (50, 83), (20, 20)], shape=(80, 80), radius=9)).save(
        tmp_path / "tiles" / "one.png"
    )
    (tmp_path / "cells.csv").write_text("tile,x,y,type\none,50,58,a\n", encoding="utf-8")
    found = cut_typed_cells(tmp_path).unlabelled
    stains = unmix(read_enlarged(tmp_path / "tiles" / "one.png"), DEFAULT.stain)
    kept = drop_cut_nuclei(segment(stains, DEFAULT))
    expected = crop_cells(stains.normalised, kept, "surroundings")
    mine = np.flatnonzero((kept.centroids == found.centroids[0]).all(axis=1))
    np.testing.assert_array_equal(found.crops, expected[mine])


def test_typed_cells_of_another_version_are_refused(tmp_path):
    cells = labelled()
    older = replace(cells, unlabelled=replace(cells.unlabelled, crops=pictures(cells.unlabelled.crops)))
    older.save(tmp_path)
    with pytest.raises(DataError, match=r"labelled\.npz is of another version; make it anew with .*training labelled"):
        TypedCells.load(tmp_path)
