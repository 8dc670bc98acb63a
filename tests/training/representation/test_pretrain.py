from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from app.pipeline.crops import to_network
from tests.drawing import disc
from tests.training.interrupted import crash_after
from training import checkpoint
from training.cells.unlabelled import UnlabelledCells
from training.errors import CheckpointError, ConfigError, DataError, DivergedError
from training.representation.pretrain import LOG, NAME, EncoderTrainer, load_encoder, new_encoder, pretrain
from training.tracking import MetricsLog

CPU = torch.device("cpu")


@pytest.fixture
def config(other_than, encoder_config):
    return other_than(encoder=encoder_config)


@pytest.fixture(scope="module")
def cells():
    random = np.random.default_rng(0)
    crops = random.integers(0, 256, (70, 32, 32, 7), dtype=np.uint8)
    return UnlabelledCells(crops, np.arange(70) // 14, random.uniform(0, 500, (70, 2)))


def weights(encoder):
    return [value.clone() for value in encoder.state_dict().values()]


def same(one, other):
    return all(map(torch.equal, one, other))


def test_encoder_learns_and_leaves_its_weights_and_losses(config, cells, tmp_path):
    encoder = pretrain(config, cells, tmp_path / "run", CPU)
    assert not encoder.training
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [LOG, NAME]
    rows = MetricsLog.read(tmp_path / "run" / LOG)
    assert [(row["iteration"], row["epoch"]) for row in rows] == [(4, 1), (8, 2), (12, 3)]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert not same(weights(encoder), weights(new_encoder(config, CPU)))
    assert same(weights(encoder), weights(load_encoder(config, tmp_path / "run", CPU)))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_resumed_run_equals_the_uninterrupted_one(config, cells, tmp_path, precision):
    config = replace(config, precision=precision)
    whole = pretrain(config, cells, tmp_path / "whole", CPU)
    pretrain(config, cells, tmp_path / "paused", CPU, stop_after=1)
    with pytest.raises(DataError, match="no finished encoder"):
        load_encoder(config, tmp_path / "paused", CPU)
    with pytest.raises(KeyboardInterrupt):
        pretrain(config, cells, tmp_path / "paused", CPU, track=crash_after(1))
    resumed = pretrain(config, cells, tmp_path / "paused", CPU)
    assert same(weights(resumed), weights(whole))
    for name in (NAME, LOG):
        assert (tmp_path / "paused" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_finished_run_is_returned_as_it_is(config, cells, tmp_path):
    first = pretrain(config, cells, tmp_path, CPU)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert same(weights(pretrain(config, cells, tmp_path, CPU, track=crash_after(0))), weights(first))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_diverged_run_stops_and_keeps_its_last_checkpoint(config, cells, tmp_path):
    pretrain(config, cells, tmp_path, CPU, stop_after=1)
    state = checkpoint.load(tmp_path, CPU, NAME)
    state["head"]["3.weight"].fill_(float("nan"))
    checkpoint.save(tmp_path, state, NAME)
    poisoned = (tmp_path / NAME).read_bytes()
    with pytest.raises(DivergedError, match="iteration 8"):
        pretrain(config, cells, tmp_path, CPU)
    assert (tmp_path / NAME).read_bytes() == poisoned
    assert len(MetricsLog.read(tmp_path / LOG)) == 1


def test_damaged_checkpoint_is_named(config, cells, tmp_path):
    (tmp_path / NAME).write_bytes(b"no archive")
    with pytest.raises(CheckpointError, match=r"encoder\.pt is damaged"):
        pretrain(config, cells, tmp_path, CPU)


def test_configuration_without_an_encoder_is_refused(without_encoder, cells, tmp_path):
    for attempt in (
        lambda: pretrain(without_encoder, cells, tmp_path, CPU),
        lambda: load_encoder(without_encoder, tmp_path, CPU),
    ):
        with pytest.raises(ConfigError, match=r"\[train\.encoder\]"):
            attempt()


def test_seed_decides_what_is_learned(config, cells, tmp_path):
    one, again, other = (
        pretrain(replace(config, seed=seed), cells, tmp_path / name, CPU, stop_after=1)
        for name, seed in (("one", 1), ("again", 1), ("other", 2))
    )
    assert same(weights(one), weights(again))
    assert not same(weights(one), weights(other))


def test_network_that_sees_the_nucleus_alone_takes_its_channels(config, cells, tmp_path):
    alone = replace(config, crops="nucleus")
    one = pretrain(alone, cells, tmp_path / "all", CPU, stop_after=1)
    two = pretrain(alone, replace(cells, crops=cells.crops[..., :3].copy()), tmp_path / "three", CPU, stop_after=1)
    assert same(weights(one), weights(two))


@pytest.mark.parametrize("n", [2, 5, 15])
def test_fewer_cells_than_a_batch_are_one_batch(config, cells, tmp_path, n):
    trainer = EncoderTrainer(config, cells[:n], CPU)
    assert [sorted(batch.tolist()) for batch in trainer.draw_batches()] == [[*range(n)]]
    pretrain(config, cells[:n], tmp_path, CPU)


def test_one_cell_cannot_be_told_from_others(config, cells, tmp_path):
    with pytest.raises(DataError, match="at least two, found 1"):
        pretrain(config, cells[:1], tmp_path, CPU)


def test_run_of_ten_steps_can_be_scheduled(config, cells, tmp_path):
    ten = replace(config, encoder=replace(config.encoder, epochs=10, batch_size=70))
    pretrain(ten, cells, tmp_path, CPU)


@pytest.mark.parametrize(("tiles_per_batch", "most"), [(1, 1), (2, 2), (0, 6)])
def test_cells_of_a_batch_are_of_few_tiles(config, tiles_per_batch, most):
    """Six tiles of 32 cells, two batches each; the numbers of tiles without cells are passed over."""
    tiles = np.repeat([0, 3, 4, 7, 8, 9], 32)
    crops = np.zeros((len(tiles), 32, 32, 7), np.uint8)
    config = replace(config, encoder=replace(config.encoder, tiles_per_batch=tiles_per_batch))
    trainer = EncoderTrainer(config, UnlabelledCells(crops, tiles, np.zeros((len(tiles), 2))), CPU)
    epochs = [trainer.draw_batches() for _ in range(2)]
    for batches in epochs:
        assert sorted(torch.cat(batches).tolist()) == [*range(len(tiles))]
        assert max(len(np.unique(tiles[batch.numpy()])) for batch in batches) == most
    assert not torch.equal(torch.cat(epochs[0]), torch.cat(epochs[1]))


def test_second_view_is_of_a_neighbour_in_the_share_that_is_asked_for(config):
    """Cells in a row, ten tiles of 40: a neighbour is at most eight cells away, and of the same tile."""
    n = 400
    places = np.stack([np.arange(n) % 40, np.zeros(n)], axis=1)
    cells = UnlabelledCells(np.zeros((n, 32, 32, 7), np.uint8), np.arange(n) // 40, places)
    batch = torch.arange(n)
    for share in (0.0, 0.5, 1.0):
        asked = replace(config, encoder=replace(config.encoder, neighbour_share=share))
        partners = EncoderTrainer(asked, cells, CPU).partners(batch)
        assert torch.equal(partners // 40, batch // 40)
        assert (partners - batch).abs().max() <= 8
        assert (partners != batch).float().mean() == pytest.approx(share, abs=0.1 if share == 0.5 else 0)


def textured(n, seed):
    """Nuclei of one size and of any colour, every second with coarse chromatin: (n, 32, 32, 3) uint8, and which."""
    random = np.random.default_rng(seed)
    is_coarse = np.arange(n) % 2 == 1
    inside = disc((32, 32), (15.5, 15.5), 13)
    crops = np.full((n, 32, 32, 3), 255, np.uint8)
    for crop, coarse in zip(crops, is_coarse, strict=True):
        grain = 8 if coarse else 3
        blocks = np.kron(random.integers(0, 2, (32 // grain + 2,) * 2), np.ones((grain, grain)))
        y, x = random.integers(0, grain, 2)
        density = random.uniform(0.3, 1, 3) * (1 + 0.8 * blocks[y : y + 32, x : x + 32, None])
        crop[inside] = (255 * np.exp(-density))[inside]
    return crops, is_coarse


def test_learned_features_tell_chromatin_apart_whatever_its_colour(other_than, encoder_config, tmp_path):
    colourless = replace(encoder_config, density_jitter=1, grey_share=0.5, blur_share=0, scale_jitter=0.1)
    config = other_than(crops="nucleus", encoder=replace(colourless, epochs=20, batch_size=64))
    crops, is_coarse = textured(256, seed=0)
    others, truth = textured(200, seed=1)

    def accuracy(encoder):
        with torch.inference_mode():
            known, asked = (encoder(torch.from_numpy(to_network(each))).numpy() for each in (crops, others))
        return KNeighborsClassifier(5).fit(known, is_coarse).score(asked, truth)

    learned = pretrain(
        config, UnlabelledCells(crops, np.zeros(len(crops), np.int64), np.zeros((len(crops), 2))), tmp_path, CPU
    )
    assert accuracy(new_encoder(config, CPU).eval()) < 0.7
    assert accuracy(learned) > 0.85
