import errno
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.training.interrupted import crash_after, same
from training import checkpoint
from training.config import load_config
from training.errors import CheckpointError, DataError, DivergedError
from training.gan.checks import check_model
from training.gan.loop import restore_trainer, training_loop
from training.gan.trainer import Trainer
from training.tracking import MetricsLog, save_grid

CPU = torch.device("cpu")
LOSSES = {"wasserstein", "penalty", "loss_g", "loss_q"}


@pytest.fixture(scope="module")
def train_config(without_encoder):
    """The paper's, which is quick; what differs if Q stands on an encoder is in test_encoder_run.py."""
    return without_encoder


@pytest.fixture(scope="module", autouse=True)
def quick_checks():
    """Figures of a few generated cells: which ones is not the matter here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("training.gan.trainer.check_model", partial(check_model, per_cluster=16))
        yield


@pytest.fixture(scope="module")
def crops(cells):
    return cells.crops


@pytest.fixture(scope="module")
def whole(train_config, cells, tmp_path_factory):
    """A run from beginning to end."""
    directory = tmp_path_factory.mktemp("whole")
    training_loop(train_config, cells.unlabelled, directory, CPU)
    return directory


def files(directory):
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


def test_run_leaves_its_checkpoint_figures_and_samples(whole, train_config):
    assert files(whole) == {"checkpoint.pt", "metrics.jsonl", *(f"samples/00000{i}.png" for i in (2, 4, 6))}
    rows = MetricsLog.read(whole / "metrics.jsonl")
    assert [row["iteration"] for row in rows if "checks" not in row] == [1, 2, 3, 4, 5, 6]
    assert [row["iteration"] for row in rows if "checks" in row] == [2, 4, 6]
    assert all(set(row) == {"iteration", *LOSSES} for row in rows if "checks" not in row)
    with Image.open(whole / "samples" / "000006.png") as grid:
        assert grid.size == (train_config.n_clusters * 32, 8 * 32)


@pytest.mark.parametrize("stop_after", [3, 4])
def test_paused_run_equals_the_uninterrupted_one(whole, train_config, cells, tmp_path, stop_after):
    assert training_loop(train_config, cells.unlabelled, tmp_path, CPU, stop_after=stop_after).iteration == stop_after
    assert training_loop(train_config, cells.unlabelled, tmp_path, CPU).iteration == 6
    assert same(checkpoint.load(tmp_path, CPU), checkpoint.load(whole, CPU))
    # A pause between two checkpoints adds one, and its row of figures.
    rows = [row for row in MetricsLog.read(tmp_path / "metrics.jsonl") if row["iteration"] % 2 == 0 or len(row) > 2]
    assert rows == MetricsLog.read(whole / "metrics.jsonl")


@pytest.mark.parametrize("iterations", [1, 3, 5])
def test_run_that_was_cut_off_equals_the_uninterrupted_one(whole, train_config, cells, tmp_path, iterations):
    with pytest.raises(KeyboardInterrupt):
        training_loop(train_config, cells.unlabelled, tmp_path, CPU, track=crash_after(iterations))
    training_loop(train_config, cells.unlabelled, tmp_path, CPU)
    assert same(checkpoint.load(tmp_path, CPU), checkpoint.load(whole, CPU))
    for name in files(whole) - {"checkpoint.pt"}:
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes(), name


def test_finished_run_is_left_as_it_is(whole, train_config, cells):
    before = {name: (whole / name).read_bytes() for name in files(whole)}
    assert training_loop(train_config, cells.unlabelled, whole, CPU).iteration == 6
    assert {name: (whole / name).read_bytes() for name in files(whole)} == before


def test_another_seed_is_another_run(whole, train_config, cells, tmp_path):
    training_loop(replace(train_config, seed=1), cells.unlabelled, tmp_path, CPU, stop_after=1)
    assert MetricsLog.read(tmp_path / "metrics.jsonl")[0] != MetricsLog.read(whole / "metrics.jsonl")[0]


def test_restored_trainer_has_the_weights_of_the_checkpoint(whole, train_config, crops):
    trainer = restore_trainer(train_config, crops, whole, CPU)
    assert trainer.iteration == 6
    assert same(trainer.state(), checkpoint.load(whole, CPU))


def test_run_without_a_checkpoint_cannot_be_restored(train_config, crops, tmp_path):
    with pytest.raises(DataError, match="no checkpoint"):
        restore_trainer(train_config, crops, tmp_path, CPU)


@pytest.mark.parametrize("of", ["nets", "clusters"])
def test_checkpoint_of_an_earlier_version_is_refused(train_config, cells, tmp_path, of):
    training_loop(train_config, cells.unlabelled, tmp_path, CPU, stop_after=1)
    state = checkpoint.load(tmp_path, CPU)
    if of == "nets":
        state["nets"]["mean_critic"] = state["nets"].pop("ema_q")
    else:
        state["anchors"] = state.pop("clusters")
    checkpoint.save(tmp_path, state)
    with pytest.raises(CheckpointError, match="earlier version"):
        training_loop(train_config, cells.unlabelled, tmp_path, CPU)


def test_diverged_run_stops_and_keeps_its_last_checkpoint(train_config, cells, tmp_path):
    training_loop(train_config, cells.unlabelled, tmp_path, CPU, stop_after=2)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    state = checkpoint.load(tmp_path, CPU)
    state["nets"]["critic"]["score.weight"].fill_(float("nan"))
    checkpoint.save(tmp_path, state)
    poisoned = (tmp_path / "checkpoint.pt").read_bytes()
    assert poisoned != before
    with pytest.raises(DivergedError, match="iteration 3"):
        training_loop(train_config, cells.unlabelled, tmp_path, CPU)
    assert (tmp_path / "checkpoint.pt").read_bytes() == poisoned
    json.loads((tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])


@pytest.fixture
def trainer(train_config, crops):
    return Trainer(train_config, crops, CPU)


def moved(trainer, step):
    """Which parts of the networks a step changes."""
    parts = {
        "generator": trainer.nets.generator,
        "trunk": trainer.nets.critic.trunk,
        "score": trainer.nets.critic.score,
        "code": trainer.nets.critic.code_logits,
    }
    before = {name: [p.detach().clone() for p in part.parameters()] for name, part in parts.items()}
    step()
    return {name for name, part in parts.items() if not all(map(torch.equal, before[name], [*part.parameters()]))}


def test_each_step_moves_its_own_networks(trainer):
    assert moved(trainer, trainer.critic_step) == {"trunk", "score"}
    assert moved(trainer, trainer.generator_step) == {"generator"}
    assert moved(trainer, trainer.code_step) == {"generator", "trunk", "code"}


def test_step_of_the_generator_asks_for_no_gradients_of_the_critic(trainer):
    trainer.generator_step()
    assert all(p.grad is None and p.requires_grad for p in trainer.nets.critic.parameters())


def test_q_is_the_critics_and_every_cluster_is_as_probable(trainer):
    assert trainer.nets.q is trainer.nets.critic
    k = trainer.config.n_clusters
    assert trainer.prior.tolist() == pytest.approx([1 / k] * k)


def test_iteration_has_as_many_critic_steps_as_configured(other_than, crops, monkeypatch):
    trainer = Trainer(other_than(critic_steps=5), crops, CPU)
    order = []
    for name in ("critic_step", "generator_step", "code_step"):
        step = getattr(trainer, name)
        monkeypatch.setattr(trainer, name, lambda name=name, step=step: (order.append(name), step())[1])
    assert set(trainer.step()) == LOSSES
    assert order == ["critic_step"] * 5 + ["generator_step", "code_step"]
    assert trainer.iteration == 1


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_step_sees_the_weights_that_the_one_before_it_left(other_than, crops, precision):
    """Autocast keeps what it made of the weights until it ends, so an iteration must be no more than its steps."""
    trainer, other = (Trainer(other_than(precision=precision, critic_steps=3), crops, CPU) for _ in range(2))
    trainer.step()
    for step in (other.critic_step,) * 3 + (other.generator_step, other.code_step):
        step()
    assert same(trainer.nets.critic.state_dict(), other.nets.critic.state_dict())
    assert same(trainer.nets.generator.state_dict(), other.nets.generator.state_dict())


def test_latent_is_a_one_hot_code_and_noise(trainer, train_config):
    latent, codes = trainer.draw_latent()
    k = train_config.n_clusters
    assert latent.shape == (train_config.batch_size, k + train_config.latent_size)
    assert torch.equal(latent[:, :k], torch.eye(k)[codes])


def test_paired_latent_repeats_its_codes_with_other_noise(trainer, train_config):
    latent, codes = trainer.draw_latent(paired=True)
    first, second = codes.chunk(2)
    assert torch.equal(first, second)
    assert torch.equal(latent[:, : train_config.n_clusters].argmax(1), codes)
    z = latent[:, train_config.n_clusters :]
    assert not torch.equal(*z.chunk(2))


def test_average_without_decay_is_the_last_iterate(other_than, crops):
    trainer = Trainer(other_than(ema_decay=0.0), crops, CPU)
    trainer.step()
    assert same(trainer.nets.ema_generator.state_dict(), trainer.nets.generator.state_dict())
    assert same(trainer.nets.ema_q.state_dict(), trainer.nets.q.state_dict())


def test_average_moves_by_what_its_decay_leaves(trainer):
    nets = trainer.nets
    with torch.no_grad():
        nets.generator.linear.bias.fill_(1.0)
        nets.ema_generator.linear.bias.fill_(0.0)
    nets.update_averages(0.75)
    torch.testing.assert_close(nets.ema_generator.linear.bias, torch.full_like(nets.generator.linear.bias, 0.25))


def test_averages_are_in_evaluation_mode(trainer):
    assert not trainer.nets.ema_generator.training
    assert not trainer.nets.ema_q.training
    assert trainer.nets.generator.training


def test_resumed_log_drops_what_came_after_the_checkpoint(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, resume_at=0)
    for i in range(1, 6):
        log.write({"iteration": i, "loss": i / 2})
    again = MetricsLog(path, resume_at=3)
    assert [row["iteration"] for row in MetricsLog.read(path)] == [1, 2, 3]
    again.write({"iteration": 4, "loss": 0.0})
    assert [row["iteration"] for row in MetricsLog.read(path)] == [1, 2, 3, 4]


def test_new_run_begins_with_an_empty_log(tmp_path):
    MetricsLog(tmp_path / "metrics.jsonl", resume_at=0)
    assert MetricsLog.read(tmp_path / "metrics.jsonl") == []


def test_log_refuses_what_is_no_number(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        MetricsLog(tmp_path / "metrics.jsonl", resume_at=0).write({"iteration": 1, "loss": float("nan")})


def test_log_with_half_a_last_line_can_be_resumed(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"iteration": 1}\n{"iteration": 2}\n{"iterat', encoding="utf-8")
    MetricsLog(path, resume_at=2)
    assert MetricsLog.read(path) == [{"iteration": 1}, {"iteration": 2}]


def test_full_disk_leaves_the_log_before_it(tmp_path, monkeypatch):
    def half(path, data):
        with path.open("wb") as file:
            file.write(data[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "metrics.jsonl"
    path.write_text('{"iteration": 1}\n{"iteration": 2}\n', encoding="utf-8")
    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match=r"No space.*metrics\.jsonl"):
        MetricsLog(path, resume_at=1)
    assert MetricsLog.read(path) == [{"iteration": 1}, {"iteration": 2}]
    assert list(tmp_path.iterdir()) == [path]


def test_grid_is_laid_out_row_by_row(tmp_path):
    cells = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 32, 32, 3), np.uint8)
    save_grid(tmp_path / "grid.png", cells, columns=3)
    with Image.open(tmp_path / "grid.png") as image:
        np.testing.assert_array_equal(np.asarray(image)[::32, ::32, 0], [[0, 1, 2], [3, 4, 5]])


@pytest.mark.slow
def test_paper_configuration_trains_at_its_full_size(crops):
    config = replace(load_config(Path("paper")).train, batch_size=4)
    trainer = Trainer(config, crops, CPU)
    for _ in range(2):
        values = trainer.step()
    assert all(np.isfinite(float(value)) for value in values.values())
    assert sum(p.numel() for p in trainer.nets.generator.parameters()) > 900_000
