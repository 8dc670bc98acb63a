"""The plain loop and ours are written differently, and have to train alike."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from training.gan.trainer import Trainer
from training.study.baselines.eager_loop import EagerLoop
from training.study.protocols.training_speed import at_paper_recipe

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)


def weights(loop):
    """Copies, by the part of the networks that they are of."""
    nets = loop.nets if isinstance(loop, Trainer) else loop
    parts = {
        "generator": nets.generator,
        "trunk": nets.critic.trunk,
        "score": nets.critic.score,
        "code": nets.critic.code_logits,
    }
    return {name: [p.detach().clone() for p in part.parameters()] for name, part in parts.items()}


@pytest.mark.parametrize(("kind", "precision"), [(EagerLoop, "float32"), (Trainer, "float32"), (Trainer, "bfloat16")])
def test_every_weight_is_trained(kind, precision, crops, train_config):
    loop = kind(replace(at_paper_recipe(train_config), precision=precision), crops, CPU)
    before = weights(loop)
    for _ in range(2):
        assert all(torch.isfinite(value) for value in loop.step().values())
    still = {
        (name, i)
        for name, values in weights(loop).items()
        for i, (old, new) in enumerate(zip(before[name], values, strict=True))
        if torch.equal(old, new)
    }
    # The offset of the score cancels in eq. 10.
    assert still == {("score", 1)}


def test_both_loops_do_the_same_work(crops, train_config):
    """From the same weights, with the same draws: the losses differ by rounding alone."""
    loops = [kind(at_paper_recipe(train_config), crops, CPU) for kind in (EagerLoop, Trainer)]
    for _ in range(3):
        plain, ours = (loop.step() for loop in loops)
        assert set(plain) == set(ours)
        for name, value in plain.items():
            assert float(ours[name]) == pytest.approx(float(value), abs=2e-3), name


def test_iteration_has_as_many_critic_steps_as_configured(crops, train_config, monkeypatch):
    loop = EagerLoop(replace(at_paper_recipe(train_config), critic_steps=5), crops, CPU)
    done = []
    for name in ("critic_step", "generator_step", "code_step"):
        monkeypatch.setattr(loop, name, lambda name=name: done.append(name) or {})
    loop.step()
    assert done == ["critic_step"] * 5 + ["generator_step", "code_step"]
