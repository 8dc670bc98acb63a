import numpy as np
import pytest

from tests.training.study.drawn_cells import ByGrey, labelled
from training.study.protocols.classification import ClassificationTask
from training.study.protocols.few_labels import NAMED, draw_named, evaluate_few_labels
from training.study.records import Records


def test_as_many_cells_of_each_type_are_named_or_all_of_a_rare_one():
    types = np.repeat([0, 1, 2], [40, 20, 3])
    named = draw_named(types, 5, draw=0)
    assert np.bincount(types[named]).tolist() == [5, 5, 3]
    assert len(set(named)) == len(named)
    np.testing.assert_array_equal(named, draw_named(types, 5, draw=0))
    assert set(named) != set(draw_named(types, 5, draw=1))
    assert set(named) < set(draw_named(types, 10, draw=0))


class OneFeatureIsTheType(ByGrey):
    """Among noise, one feature is the type: many named cells find it, few of them cannot."""

    def features(self, crops):
        noise = np.random.default_rng(len(crops)).normal(size=(len(crops), 300)).astype(np.float32)
        noise[:, 0] += 1.5 * (super().features(crops)[:, 0] < 120)
        return noise


@pytest.mark.parametrize(("system", "easy"), [(ByGrey, True), (OneFeatureIsTheType, False)])
def test_types_are_learned_from_the_named_cells_alone(tmp_path, system, easy):
    records = Records(tmp_path / "few_labels.json")
    task = ClassificationTask(("drawn",), splits=(0, 1), seeds=(0,))
    for _ in range(2):
        evaluate_few_labels({"drawn": labelled()}, task, records, print, lambda name: system)
    found = records.read()
    assert [record["split"] for record in found] == [0, 1]
    for record in found:
        assert (record["training_cells"], record["test_cells"]) == (96, 24)
        figures = [record[f"f1_{number}"] for number in NAMED]
        if easy:
            assert figures == [1] * len(NAMED)
            assert record["macro_f1_5"] == 1
        else:
            assert figures[0] < 0.9
            # All 48 cells of each type are named by 50, 100 and 500.
            assert figures[3] == figures[4] == figures[5]
