"""How right Q's probabilities are, on cells of tiles and patients that it has not learned from."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from app.pipeline.manifest import QCalibration
from app.pipeline.networks.architecture import Encoder, EncoderQ
from training.cells.tile_labels import TileLabels
from training.gan import calibrate_q
from training.gan.calibrate_q import measure_calibration

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def q(train_config):
    torch.manual_seed(0)
    return EncoderQ(Encoder(train_config.n_channels, train_config.encoder.width), train_config.n_clusters).eval()


def test_calibration_is_measured_and_says_on_what(train_config, kept_cells, q, quick_head):
    found = QCalibration.model_validate(measure_calibration(kept_cells, train_config, q, CPU))
    assert (found.cells, found.tiles, found.folds, found.held_out) == (120, 3, 3, "tiles")


@pytest.mark.parametrize("patients", [None, [0, 1, 0, 1, 2, 2]])
def test_no_cell_is_judged_by_a_head_that_learned_from_its_tile_or_patient(
    train_config, kept_cells, q, monkeypatch, patients
):
    """Its number stands in for what a cell looks like in its views."""
    n = 60
    labels = patients and TileLabels(np.zeros(6, np.int64), np.array(patients))
    tile_index = np.arange(n) // 10
    cells = replace(
        kept_cells,
        crops=kept_cells.crops[:n],
        centroids=kept_cells.centroids[:n],
        tile_index=tile_index,
        tiles=tuple("abcdef"),
        labels=labels,
    )
    groups = tile_index if patients is None else np.array(patients)[tile_index]
    judged = []

    def spy(views, tiles, neighbours, n_clusters, seed, view_weight, first):
        learned = views[0, :, 0]
        assert len(first) == len(learned)
        left_out = np.setdiff1d(np.arange(n), learned)
        assert np.array_equal(tiles, tile_index[learned])
        assert not set(groups[learned]) & set(groups[left_out])
        judged.extend(left_out)
        return torch.nn.Linear(8 * train_config.encoder.width, n_clusters)

    monkeypatch.setattr(calibrate_q, "views_of", lambda *_: np.arange(n)[None, :, None])
    monkeypatch.setattr(calibrate_q, "learn_head", spy)
    found = measure_calibration(cells, train_config, q, CPU)
    assert sorted(judged) == list(range(n))
    assert found["held_out"] == ("tiles" if patients is None else "patients")


def test_heads_that_number_their_clusters_otherwise_are_right(train_config, kept_cells, q, monkeypatch):
    """Each head is that of Q with its clusters turned round: what counts is which cells are together."""

    def renumbered(*_, **__):
        head = copy.deepcopy(q.code_logits)
        with torch.no_grad():
            head.weight.copy_(head.weight.roll(1, dims=0))
            head.bias.copy_(head.bias.roll(1))
        return head

    monkeypatch.setattr(calibrate_q, "learn_head", renumbered)
    assert measure_calibration(kept_cells, train_config, q, CPU)["agreement"] == 1


def test_without_an_encoder_or_a_second_tile_there_is_no_calibration(train_config, without_encoder, kept_cells, q):
    assert measure_calibration(kept_cells, without_encoder, q, CPU) is None
    single = replace(kept_cells, tile_index=np.zeros(len(kept_cells), np.int64))
    assert measure_calibration(single, train_config, q, CPU) is None
