"""Q that learns anchors: before the GAN begins, and never again."""

from dataclasses import replace

import pytest
import torch

from training.gan.loop import begin
from training.gan.trainer import Trainer

CPU = torch.device("cpu")


def weights(net):
    return [value.clone() for value in net.state_dict().values()]


def equal(one, other):
    return all(torch.equal(*pair) for pair in zip(one, other, strict=True))


@pytest.fixture
def trainer(train_config, cells):
    return begin(train_config, cells.crops, CPU)


def test_q_stays_as_it_is_while_the_gan_learns(trainer):
    judge, critic, generator = (
        weights(net) for net in (trainer.nets.judge, trainer.nets.critic, trainer.nets.generator)
    )
    for _ in range(2):
        trainer.step()
    assert equal(judge, weights(trainer.nets.judge))
    assert equal(judge, weights(trainer.nets.mean_critic))
    assert not equal(critic, weights(trainer.nets.critic))
    assert not equal(generator, weights(trainer.nets.generator))


def test_codes_are_drawn_as_often_as_their_anchors_occur(trainer):
    shares = torch.bincount(trainer.sample_real.anchors, minlength=trainer.config.n_clusters).float()
    assert torch.allclose(trainer.prior(), shares / shares.sum())
    trainer.sample_real.anchors.fill_(3)
    _, codes = trainer.draw_latent()
    assert set(codes.tolist()) == {3}


def test_without_anchors_q_is_the_critics_and_learns_with_it(train_config, cells):
    trainer = Trainer(replace(train_config, anchor_steps=0), cells.crops, CPU)
    assert trainer.nets.judge is trainer.nets.critic
    assert trainer.prior().tolist() == pytest.approx([1 / train_config.n_clusters] * train_config.n_clusters)
    head = weights(trainer.nets.critic.code_logits)
    trainer.step()
    assert not equal(head, weights(trainer.nets.critic.code_logits))


def test_same_seed_same_q(train_config, cells):
    first, again = (begin(train_config, cells.crops, CPU) for _ in range(2))
    assert equal(weights(first.nets.judge), weights(again.nets.judge))
    other = begin(replace(train_config, seed=1), cells.crops, CPU)
    assert not equal(weights(first.nets.judge), weights(other.nets.judge))
