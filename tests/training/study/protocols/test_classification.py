import numpy as np
import pytest

from tests.training.study.drawn_cells import N_TILES, ByGrey, labelled
from training.study.protocols.classification import ClassificationTask, evaluate_classification, split_by_tile
from training.study.records import Records
from training.study.systems.cell_systems import MissingSystemError


@pytest.mark.parametrize("seed", range(3))
def test_no_tile_is_on_both_sides_of_the_split(seed):
    cells = labelled()
    training, test = split_by_tile(cells, seed)
    tiles = [set(cells.unlabelled.tile_index[side]) for side in (training, test)]
    assert not tiles[0] & tiles[1]
    assert len(tiles[1]) == N_TILES / 5
    assert len(training) + len(test) == len(cells.types)


def test_split_depends_on_the_seed_alone():
    splits = [split_by_tile(labelled(), seed)[1] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(splits[0], splits[1])
    assert not np.array_equal(splits[0], splits[2])


def test_features_that_separate_the_types_score_best(tmp_path):
    made, seen = [], []

    def find(name):
        if name != "grey":
            raise MissingSystemError(f"'{name}' cannot be run here")
        return lambda seed: made.append(ByGrey(seed)) or made[-1]

    records, cells = Records(tmp_path / "classification.json"), labelled()
    task = ClassificationTask(("missing", "grey"), splits=(0, 1), seeds=(5,))
    for _ in range(2):
        evaluate_classification({"drawn": cells}, task, records, print, lambda *found: seen.append(found), find)
    assert len(made) == len(seen) == len(records.read()) == 2
    for system, (record, predicted) in zip(made, seen, strict=True):
        assert record["precision"] == record["recall"] == record["f1"] == record["macro_f1"] == 1
        assert record["dimensions"] == 3
        assert record["training_cells"] == len(system.seen) == 96
        assert record["test_cells"] == len(predicted.cells) == 24
        np.testing.assert_array_equal(predicted.types, cells.types[predicted.cells])
        on_test = cells.unlabelled.crops[predicted.cells]
        assert not {crop.tobytes() for crop in system.seen} & {crop.tobytes() for crop in on_test}


def test_seed_of_the_system_changes_no_split(tmp_path):
    tested = []
    records = Records(tmp_path / "classification.json")
    task = ClassificationTask(("grey",), splits=(0, 1), seeds=(0, 1))
    evaluate_classification(
        {"drawn": labelled()},
        task,
        records,
        print,
        lambda record, found: tested.append((record["split"], record["seed"], tuple(found.cells))),
        lambda name: ByGrey,
    )
    assert [found[:2] for found in tested] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len(records.read()) == 4
    assert tested[0][2] == tested[1][2] != tested[2][2] == tested[3][2]
