import numpy as np
import pytest

from tests.training.study.drawn_cells import labelled
from training.errors import DataError
from training.study.typed_cells import load_crops


def test_cells_of_either_kind_are_read_without_types(tmp_path, cells):
    labelled().save(tmp_path / "typed")
    cells.save(tmp_path / "plain")
    assert len(load_crops(tmp_path / "typed")) == 120
    assert np.array_equal(load_crops(tmp_path / "plain"), cells.crops)
    with pytest.raises(DataError, match="does not exist"):
        load_crops(tmp_path)
