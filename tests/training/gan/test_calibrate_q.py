"""How right Q's probabilities are, on cells of tiles and patients that it has not learned from."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from app.pipeline.manifest import QCalibration
from app.pipeline.networks.architecture import CriticQ
from training.cells.tile_labels import TileLabels
from training.gan import calibrate_q
from training.gan.calibrate_q import measure_calibration

CPU = torch.device("cpu")
Q = CriticQ(8, 5)
"""Where there are anchors, it does not matter."""


def test_calibration_is_measured_and_says_on_what(train_config, cells):
    found = QCalibration.model_validate(measure_calibration(cells, train_config, Q, CPU))
    assert (found.cells, found.tiles, found.folds, found.held_out) == (120, 3, 3, "tiles")


@pytest.mark.parametrize("patients", [None, [0, 1, 0, 1, 2, 2]])
def test_no_cell_is_judged_by_a_q_that_learned_from_its_tile_or_patient(train_config, cells, monkeypatch, patients):
    n = 60
    marked = np.full((n, 32, 32, 3), 255, np.uint8)
    marked[:, 8:24, 8:24] = np.arange(n)[:, None, None, None]
    labels = patients and TileLabels(np.zeros(6, np.int64), np.array(patients))
    tile_index = np.arange(n) // 10
    cells = replace(cells, crops=marked, tile_index=tile_index, tiles=tuple("abcdef"), labels=labels)
    groups = tile_index if patients is None else np.array(patients)[tile_index]
    judged = []

    def spy(crops, anchors, held_out, config, device):
        learned, left_out = crops[:, 16, 16, 0], held_out[:, 16, 16, 0]
        assert not set(groups[learned]) & set(groups[left_out])
        judged.extend(left_out)
        return np.zeros((len(held_out), 5))

    monkeypatch.setattr(calibrate_q, "_logits", spy)
    found = measure_calibration(cells, train_config, Q, CPU)
    assert sorted(judged) == list(range(n))
    assert found["held_out"] == ("tiles" if patients is None else "patients")


def test_without_anchors_or_a_second_tile_there_is_no_calibration(cells, other_than):
    assert measure_calibration(cells, other_than(anchor_steps=0), Q, CPU) is None
    single = replace(cells, tile_index=np.zeros(len(cells), np.int64))
    assert measure_calibration(single, other_than(), Q, CPU) is None
