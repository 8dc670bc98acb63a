"""The networks of a run, and the moving averages of their weights that are exported."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from app.pipeline.networks.architecture import CriticQ, Generator
from training.config import TrainConfig


@dataclass
class Networks:
    """The networks of a run, and their moving averages.

    `CriticQ` has two heads on one trunk: D's score and Q's logits.

    Attributes:
        generator: G.
        critic: D; without anchors, its other head is Q (paper §III-A).
        q: the network whose head is Q: the critic itself without anchors, else a network of its own.
        ema_generator: exponential moving average of G, which is exported.
        ema_q: exponential moving average of `q`, which is exported.
    """

    generator: Generator
    critic: CriticQ
    q: CriticQ
    ema_generator: Generator
    ema_q: CriticQ

    @classmethod
    def create(cls, config: TrainConfig, device: torch.device) -> Networks:
        """Return networks that are freshly initialised from the configuration's seed."""
        torch.manual_seed(config.seed)
        generator = Generator(config.channels, config.n_clusters, config.latent_size, config.code_scale).to(device)
        critic = CriticQ(config.channels, config.n_clusters).to(device)
        q = CriticQ(config.channels, config.n_clusters).to(device) if config.anchor_steps else critic
        for net in (generator, critic, q):
            net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cls(generator, critic, q, copy.deepcopy(generator).eval(), copy.deepcopy(q).eval())

    def by_name(self) -> dict[str, nn.Module]:
        """Return every network under the name of its attribute."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def update_averages(self, decay: float) -> None:
        """Move the averages towards the current weights: w̄ ← decay · w̄ + (1 − decay) · w."""
        update = get_ema_multi_avg_fn(decay)
        for average, current in ((self.ema_generator, self.generator), (self.ema_q, self.q)):
            pairs = [*zip(average.state_dict().values(), current.state_dict().values(), strict=True)]
            averaged = [pair for pair in pairs if pair[0].is_floating_point()]
            update([target for target, _ in averaged], [source for _, source in averaged], None)
            for target, source in pairs:
                # Batch norm counts its batches in integers.
                if not target.is_floating_point():
                    target.copy_(source)


def q_parameters(q: CriticQ) -> list[nn.Parameter]:
    """Return the parameters that Q's logits depend on: the trunk and Q's head, but not D's."""
    return [*q.trunk.parameters(), *q.code_logits.parameters()]


@contextmanager
def frozen(net: nn.Module) -> Iterator[None]:
    """Inside this context, compute no gradients for a network's weights, which saves a third of its backward pass."""
    net.requires_grad_(False)
    try:
        yield
    finally:
        net.requires_grad_(True)
