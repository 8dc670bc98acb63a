import numpy as np
import pytest

from tests.training.drawn_cells import ByGrey, labelled, unlabelled
from training.errors import DataError
from training.study.protocols.agreement import evaluate_agreement, load_crops
from training.study.records import Records


class Fickle(ByGrey):
    """By grey with an even seed, by the place in the list with an odd one."""

    def clusters(self, crops):
        _, seed = self.arguments
        return np.arange(len(crops)) % 2 if seed % 2 else super().clusters(crops)


def test_every_pair_of_seeds_is_compared(tmp_path):
    records = Records(tmp_path / "agreement.json")
    said = []
    evaluate_agreement({"drawn": unlabelled()[0].crops}, ("fickle", Fickle), 2, range(3), records, said.append)
    found = {(record["seed"], record["other_seed"]): record for record in records.read()}
    assert set(found) == {(0, 1), (0, 2), (1, 2)}
    assert found[0, 2]["ari"] == found[0, 2]["nmi"] == 1
    # Dark cells come first in each tile: alternate ones are half dark, as by chance.
    assert found[0, 1]["ari"] == pytest.approx(0, abs=0.02)
    assert "seeds 0 and 2: ARI 1.000" in said[1]


def test_cells_of_either_kind_are_read_without_types(tmp_path, cells):
    labelled().save(tmp_path / "typed")
    cells.save(tmp_path / "plain")
    assert len(load_crops(tmp_path / "typed")) == 120
    assert np.array_equal(load_crops(tmp_path / "plain"), cells.crops)
    with pytest.raises(DataError, match="does not exist"):
        load_crops(tmp_path)
