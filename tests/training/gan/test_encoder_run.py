"""A run whose Q stands on an encoder: encoder, clusters by company, then a GAN whose D is told the cluster."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from app.pipeline.networks.architecture import CriticQ, EncoderQ
from tests.training.interrupted import same
from training import checkpoint
from training.cells.unlabelled import UnlabelledCells
from training.config import load_config
from training.errors import DataError, DivergedError
from training.gan.checks import assign_clusters, check_model
from training.gan.loop import new_trainer, training_loop
from training.gan.networks import Networks, conditional_scores
from training.gan.train_q import Company
from training.gan.trainer import Trainer
from training.representation import company
from training.representation.pretrain import NAME, pretrain
from training.tracking import MetricsLog

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def quick_checks(quick_head):
    """Figures of a few generated cells: which ones is not the matter here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("training.gan.trainer.check_model", partial(check_model, per_cluster=4))
        yield


@pytest.fixture(scope="module")
def config(train_config, encoder_config):
    return replace(
        train_config,
        encoder=replace(encoder_config, epochs=2),
        critic_shift_px=2,
        code_weight=1.0,
        q_learning_rate=1e-3,
        critic_steps=1,
    )


@pytest.fixture(scope="module")
def real(kept_cells):
    return kept_cells.unlabelled


@pytest.fixture(scope="module")
def whole(config, real, tmp_path_factory):
    """A run from beginning to end."""
    directory = tmp_path_factory.mktemp("whole")
    training_loop(config, real, directory, CPU)
    return directory


def weights(net):
    return {name: p.detach().clone() for name, p in net.named_parameters()}


def statistics(net):
    return {name: value.clone() for name, value in net.named_buffers()}


def crash_after(steps):
    """A progress bar during which the power fails; it counts the epochs of the encoder too."""
    done = 0

    def track(planned):
        nonlocal done
        for i in planned:
            if done == steps:
                raise KeyboardInterrupt
            yield i
            done += 1

    return track


def test_networks_see_and_draw_what_lies_round_a_nucleus(config):
    nets = Networks.create(config, CPU)
    assert isinstance(nets.q, EncoderQ)
    assert nets.q is not nets.critic
    assert not nets.q.training
    assert not nets.ema_q.training
    assert nets.generator.training
    latent = torch.randn(2, config.n_clusters + config.latent_size)
    drawn = nets.generator(latent)
    assert drawn.shape == (2, 7, 32, 32)
    assert nets.q.logits(drawn).shape == nets.critic(drawn)[1].shape == (2, config.n_clusters)


def test_score_is_that_of_the_critic_and_of_the_head_for_the_cluster():
    torch.manual_seed(0)
    critic, crops, codes = CriticQ(8, 5, 7), torch.randn(3, 7, 32, 32), torch.tensor([4, 0, 4])
    scores, of_clusters = critic(crops)
    expected = [scores[i] + of_clusters[i, code] for i, code in enumerate(codes)]
    assert torch.equal(conditional_scores(critic, crops, codes), torch.stack(expected))


def test_iterations_move_every_network_but_no_statistics_of_q(config, real):
    trainer = Trainer(config, real.crops, CPU, company=real)
    nets = trainer.nets
    parts = {
        "generator": nets.generator,
        "trunk of D": nets.critic.trunk,
        "score": nets.critic.score,
        "what tells D the cluster": nets.critic.code_logits,
        "encoder": nets.q.trunk,
        "head": nets.q.code_logits,
    }
    before, seen = {name: weights(part) for name, part in parts.items()}, statistics(nets.q)
    trainer.iteration = config.generator_iterations // 2
    values = [trainer.step() for _ in range(4)]
    assert {name for name, part in parts.items() if same(before[name], weights(part))} == set()
    assert same(statistics(nets.q), seen)
    assert same(statistics(nets.ema_q), seen)
    assert all(value.isfinite() for losses in values for value in losses.values())
    assert all(losses.keys() == {"wasserstein", "penalty", "loss_g", "loss_q", "gain"} for losses in values)


def test_each_step_moves_its_own_networks(config, real):
    trainer = Trainer(config, real.crops, CPU, company=real)
    trainer.iteration = config.generator_iterations // 2
    nets = trainer.nets.by_name()
    for step, moves in (
        (trainer.critic_step, {"critic"}),
        (trainer.generator_step, {"generator"}),
        (trainer.encoder_code_step, {"q"}),
    ):
        before = {name: weights(net) for name, net in nets.items()}
        step()
        assert {name for name, net in nets.items() if not same(before[name], weights(net))} == moves


def test_q_without_a_learning_rate_stays_as_it_is(config, real):
    trainer = Trainer(replace(config, q_learning_rate=0.0), real.crops, CPU, company=real)
    before, generator = weights(trainer.nets.q), weights(trainer.nets.generator)
    for _ in range(4):
        trainer.step()
    assert "loss_q" in trainer.step()
    assert same(weights(trainer.nets.q), before)
    assert same(weights(trainer.nets.ema_q), before)
    assert not same(weights(trainer.nets.generator), generator)


def test_company_without_weight_is_not_computed(config, real, monkeypatch):
    monkeypatch.setattr(Company, "gain", lambda *_: pytest.fail("computed"))
    trainer = Trainer(replace(config, real_weight=0.0), real.crops, CPU, company=real)
    trainer.iteration = config.generator_iterations // 2
    assert trainer.step()["gain"] == 0


def test_step_of_q_makes_the_gain_of_company_larger(config, real, monkeypatch):
    """If the gain is a weight of Q, and eq. 12 does not count, the step of Q raises this weight and moves no other."""
    monkeypatch.setattr(Company, "gain", lambda _, q: q.code_logits.bias[3])
    trainer = Trainer(replace(config, code_weight=0.0), real.crops, CPU, company=real)
    trainer.iteration = config.generator_iterations // 2
    before = weights(trainer.nets.q)
    trainer.encoder_code_step()
    changes = {name: after - before[name] for name, after in weights(trainer.nets.q).items()}
    raised = changes.pop("code_logits.bias")
    assert raised.tolist() == pytest.approx([0, 0, 0, config.q_learning_rate, 0], abs=1e-6)
    assert not any(change.any() for change in changes.values())


def test_q_rests_in_the_first_quarter(config, real):
    trainer = Trainer(replace(config, generator_iterations=8), real.crops, CPU, company=real)
    before = weights(trainer.nets.q)
    assert [{"loss_q", "gain"} <= trainer.step().keys() for _ in range(2)] == [False, False]
    assert same(weights(trainer.nets.q), before)
    trainer.step()
    assert not same(weights(trainer.nets.q), before)


def test_generator_is_to_draw_cells_that_q_puts_into_their_cluster(config, real, monkeypatch):
    """If D gives no gradient, the generator's step lowers eq. 12 alone."""
    trainer = Trainer(replace(config, mode_seeking_weight=0.0, code_weight=2.0), real.crops, CPU)
    with torch.no_grad():
        for head in (trainer.nets.critic.score, trainer.nets.critic.code_logits):
            head.weight.zero_()
    seen = []
    descend = trainer._descend
    monkeypatch.setattr(trainer, "_descend", lambda name, loss: (seen.append(loss.item()), descend(name, loss)))
    monkeypatch.setattr("training.gan.trainer.generated_code_loss", lambda cells, *_: cells.mean())
    latent, codes = trainer.draw_latent()
    monkeypatch.setattr(trainer, "draw_latent", lambda **_: (latent, codes))
    for _ in range(5):
        trainer.generator_step()
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] < seen[0] - 1e-4


def test_company_is_a_cell_its_neighbour_and_the_cell_in_another_view(config, real, monkeypatch):
    """All of one tile: cells, cells beside them, and the same cells again."""
    marks = torch.arange(120.0)[:, None, None, None].expand(-1, 7, 32, 32)
    monkeypatch.setattr("training.gan.train_q.random_views", lambda batch, *_: batch)
    shown = []

    class Watched:
        def logits(self, crops):
            shown.append(crops[:, 0, 0, 0].long().numpy())
            return torch.zeros(len(crops), 5)

    beside = Company(real, config, marks, torch.Generator().manual_seed(0))
    for _ in range(20):
        beside.gain(Watched())
    neighbours = company.neighbours_of(real.centroids, real.tile_index)
    for one, other, again in (np.split(cells, 3) for cells in shown):
        assert len(set(real.tile_index[one])) == 1
        assert np.array_equal(one, again)
        assert all(b in neighbours[a] for a, b in zip(one, other, strict=True))
    assert len({tuple(set(real.tile_index[cells])) for cells in shown}) == 3


def test_clusters_of_q_become_what_d_is_told_and_codes_are_drawn_by(config, real):
    trainer = Trainer(config, real.crops, CPU, company=real)
    trainer.recluster()
    clusters = assign_clusters(trainer.nets.ema_q, trainer.sample_real.crops)
    assert trainer.clusters.tolist() == clusters.tolist()
    assert trainer.prior.tolist() == pytest.approx((np.bincount(clusters, minlength=5) / 120).tolist())
    with torch.no_grad():
        trainer.nets.ema_q.code_logits.bias[3] += 1e6
    trainer.iteration = 199
    trainer.step()
    assert trainer.prior.tolist() != [0, 0, 0, 1, 0]
    with torch.no_grad():
        trainer.nets.ema_q.code_logits.bias[3] += 1e6
    trainer.step()
    assert trainer.prior.tolist() == [0, 0, 0, 1, 0]
    assert set(trainer.draw_latent()[1].tolist()) == {3}


def test_real_and_generated_cells_of_a_step_are_of_the_same_clusters(config, real, monkeypatch):
    """Crops are scored with the clusters of the real cells among them."""
    trainer = Trainer(replace(config, critic_shift_px=0, critic_density_jitter=0.0), real.crops, CPU)
    trainer.set_clusters(torch.arange(120) % 5)
    told, drawn = [], []
    draw, latent_of = trainer.sample_real.draw, trainer.latent_of
    monkeypatch.setattr(trainer.sample_real, "draw", lambda: drawn.append(draw()) or drawn[-1])
    monkeypatch.setattr(trainer, "latent_of", lambda codes: told.append(latent_of(codes)) or told[-1])
    trainer.critic_step()
    (_, chosen), latent = drawn[0], told[0]
    assert latent[:, :5].argmax(dim=1).tolist() == (chosen % 5).tolist()
    assert torch.equal(latent[:, :5], torch.eye(5)[chosen % 5])


def test_run_leaves_its_encoder_and_begins_with_the_clusters_of_its_company(whole, config, real, tmp_path):
    assert {path.name for path in whole.iterdir()} >= {NAME, "checkpoint.pt", "metrics.jsonl", "samples"}
    rows = [row for row in MetricsLog.read(whole / "metrics.jsonl") if "checks" not in row]
    assert [row["iteration"] for row in rows if "gain" in row] == [3, 4, 5, 6]
    encoder = pretrain(config, real, whole, CPU)
    (tmp_path / NAME).write_bytes((whole / NAME).read_bytes())
    trainer = new_trainer(config, real, tmp_path, CPU)
    assert same(trainer.nets.q.trunk.state_dict(), encoder.state_dict())
    assert same(trainer.nets.q.state_dict(), trainer.nets.ema_q.state_dict())
    assert trainer.clusters.tolist() == assign_clusters(trainer.nets.q, trainer.sample_real.crops).tolist()


def test_run_takes_the_finished_encoder_that_its_directory_holds(whole, config, real, tmp_path, monkeypatch):
    (tmp_path / NAME).write_bytes((whole / NAME).read_bytes())
    monkeypatch.setattr(
        "training.representation.pretrain.EncoderTrainer.train_epoch", lambda _: pytest.fail("trained again")
    )
    training_loop(config, real, tmp_path, CPU)
    assert same(checkpoint.load(tmp_path, CPU), checkpoint.load(whole, CPU))


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_run_that_was_cut_off_equals_the_uninterrupted_one(whole, config, real, tmp_path, steps):
    """In the encoder's second epoch, before the first iteration of the GAN, and in its fourth."""
    with pytest.raises(KeyboardInterrupt):
        training_loop(config, real, tmp_path, CPU, track=crash_after(steps))
    assert (tmp_path / "checkpoint.pt").exists() == (steps == 5)
    training_loop(config, real, tmp_path, CPU)
    assert same(checkpoint.load(tmp_path, CPU), checkpoint.load(whole, CPU))
    assert (tmp_path / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_paused_run_equals_the_uninterrupted_one(whole, config, real, tmp_path):
    for pause in (3, 5, None):
        training_loop(config, real, tmp_path, CPU, stop_after=pause)
    assert same(checkpoint.load(tmp_path, CPU), checkpoint.load(whole, CPU))


def test_diverged_run_stops(whole, config, real, tmp_path):
    state = checkpoint.load(whole, CPU)
    state["nets"]["critic"]["score.weight"].fill_(float("nan"))
    checkpoint.save(tmp_path, {**state, "iteration": 4})
    with pytest.raises(DivergedError, match="iteration 5"):
        training_loop(config, real, tmp_path, CPU)


def test_cells_without_their_surroundings_are_refused(config, cells, tmp_path):
    with pytest.raises(DataError, match=r"3 channels.*surroundings.*7.*training cells"):
        training_loop(config, cells.unlabelled, tmp_path, CPU)
    assert not (tmp_path / NAME).exists()


def first(cells: UnlabelledCells, n: int) -> UnlabelledCells:
    return cells[np.arange(n)]


def test_fewer_cells_than_clusters_are_refused(config, without_encoder, real, cells, tmp_path):
    for settings, given in ((config, real), (without_encoder, cells.unlabelled)):
        with pytest.raises(DataError, match="4 cells for 5 clusters"):
            training_loop(settings, first(given, 4), tmp_path, CPU)
    assert not (tmp_path / NAME).exists()
    assert training_loop(config, first(real, 5), tmp_path, CPU, stop_after=1).iteration == 1


def test_seed_decides_what_q_learns(config, real, tmp_path):
    first, again, other = (
        new_trainer(replace(config, seed=seed), real, tmp_path / str(i), CPU) for i, seed in enumerate((0, 0, 1))
    )
    assert same(first.state(), again.state())
    assert not same(first.nets.q.state_dict(), other.nets.q.state_dict())


@pytest.mark.slow
def test_full_configuration_trains(real):
    config = replace(load_config(Path("full")).train, batch_size=4)
    trainer = Trainer(config, real.crops, CPU, company=real)
    trainer.iteration = config.generator_iterations // 2
    assert all(value.isfinite() for value in trainer.step().values())
