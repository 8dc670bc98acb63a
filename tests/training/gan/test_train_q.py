"""Q that learns anchors: before the GAN begins, and never again."""

from dataclasses import replace

import pytest
import torch

from training.gan.loop import new_trainer
from training.gan.trainer import Trainer

CPU = torch.device("cpu")


def weights(net):
    return [value.clone() for value in net.state_dict().values()]


def equal(one, other):
    return all(torch.equal(*pair) for pair in zip(one, other, strict=True))


@pytest.fixture
def trainer(train_config, cells, tmp_path):
    return new_trainer(train_config, cells.unlabelled, tmp_path, CPU)


def test_q_stays_as_it_is_while_the_gan_learns(trainer):
    q, critic, generator = (weights(net) for net in (trainer.nets.q, trainer.nets.critic, trainer.nets.generator))
    for _ in range(2):
        trainer.step()
    assert equal(q, weights(trainer.nets.q))
    assert equal(q, weights(trainer.nets.ema_q))
    assert not equal(critic, weights(trainer.nets.critic))
    assert not equal(generator, weights(trainer.nets.generator))


def test_codes_are_drawn_as_often_as_their_anchors_occur(trainer):
    shares = torch.bincount(trainer.sample_real.anchors, minlength=trainer.config.n_clusters).float()
    assert torch.allclose(trainer.prior, shares / shares.sum())
    trainer.set_anchors(torch.full_like(trainer.sample_real.anchors, 3))
    _, codes = trainer.draw_latent()
    assert set(codes.tolist()) == {3}


def test_without_anchors_q_is_the_critics_and_learns_with_it(train_config, cells):
    trainer = Trainer(replace(train_config, anchor_steps=0), cells.crops, CPU)
    assert trainer.nets.q is trainer.nets.critic
    assert trainer.prior.tolist() == pytest.approx([1 / train_config.n_clusters] * train_config.n_clusters)
    head = weights(trainer.nets.critic.code_logits)
    trainer.step()
    assert not equal(head, weights(trainer.nets.critic.code_logits))


def test_same_seed_same_q(train_config, cells, tmp_path):
    first, again = (new_trainer(train_config, cells.unlabelled, tmp_path, CPU) for _ in range(2))
    assert equal(weights(first.nets.q), weights(again.nets.q))
    other = new_trainer(replace(train_config, seed=1), cells.unlabelled, tmp_path, CPU)
    assert not equal(weights(first.nets.q), weights(other.nets.q))
