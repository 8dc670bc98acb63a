from dataclasses import replace
from functools import partial

import numpy as np
import torch

from tests.training.study.drawn_cells import unlabelled
from training.study.protocols.classification import ClassificationTask, evaluate_classification
from training.study.records import Records
from training.study.systems.cell_systems import CEILINGS, CLUSTERERS, DESCRIBERS
from training.study.systems.trained_with_types import EncoderWithTypes, TypeTrainer
from training.study.typed_cells import TypedCells


def with_a_faint_spot():
    """Dark and pale cells; what makes the type is a faint spot in the middle, which either kind may have."""
    cells, _ = unlabelled()
    types = np.arange(len(cells)) // 3 % 2
    cells.crops[types == 1, 13:19, 13:19, :6] += 25
    return TypedCells(cells, types, ("plain", "spotted"), tuple(map(str, range(10))))


def test_types_are_learned_from_on_the_training_tiles_alone(encoder_config, tmp_path):
    cells, told = with_a_faint_spot(), []

    class Watched(EncoderWithTypes):
        def fit_types(self, learned_from, types):
            told.append((learned_from, types))
            super().fit_types(learned_from, types)

    records = Records(tmp_path / "classification.json")
    task = ClassificationTask(("with-types",), splits=(0,), seeds=(0,))
    make = partial(Watched, encoder=encoder_config)
    tested = []
    evaluate_classification(
        {"drawn": cells}, task, records, print, lambda _, found: tested.append(found.cells), lambda _: make
    )
    ((learned_from, types),) = told
    training = np.setdiff1d(np.arange(len(cells.types)), tested[0])
    np.testing.assert_array_equal(learned_from.crops, cells.unlabelled.crops[training])
    np.testing.assert_array_equal(types, cells.types[training])
    (record,) = records.read()
    assert record["dimensions"] == 30 * encoder_config.width


def test_types_are_told_from_the_features_of_cells_that_were_not_learned_from(encoder_config, tmp_path):
    records = Records(tmp_path / "classification.json")
    task = ClassificationTask(("with-types",), splits=(0,), seeds=(0,))
    make = partial(EncoderWithTypes, encoder=replace(encoder_config, epochs=20, near_share=0.0))
    evaluate_classification({"drawn": with_a_faint_spot()}, task, records, print, lambda *_: None, lambda _: make)
    assert records.read()[0]["f1"] > 0.85


def test_types_that_can_be_seen_are_learned(encoder_config):
    """Two types that nothing tells apart keep a loss of log 2, .69."""
    cells = with_a_faint_spot()
    config = replace(EncoderWithTypes(0).config, encoder=replace(encoder_config, epochs=20, near_share=0.0))
    trainer = TypeTrainer(config, cells.unlabelled, cells.types, torch.device("cpu"))
    losses = [float(trainer.train_epoch()) for _ in range(20)]
    assert losses[-1] < 0.5


def test_features_depend_on_the_types_and_on_the_seed_alone(encoder_config):
    cells = with_a_faint_spot()
    wrong = np.random.default_rng(0).permutation(cells.types)

    def features(seed, types):
        system = EncoderWithTypes(seed, encoder=encoder_config)
        system.fit_types(cells.unlabelled, types)
        return system.features(cells.unlabelled.crops[:30])

    found = features(0, cells.types)
    assert found.shape == (30, 30 * encoder_config.width)
    np.testing.assert_array_equal(found, features(0, cells.types))
    assert not np.allclose(found, features(1, cells.types))
    assert not np.allclose(found, features(0, wrong))


def test_it_is_a_system_of_table_one_alone():
    assert not set(CEILINGS) & (set(CLUSTERERS) | set(DESCRIBERS))
