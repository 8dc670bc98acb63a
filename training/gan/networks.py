"""The networks of a run, and the moving averages of their weights that are exported."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from app.pipeline.networks.architecture import AnyQ, CriticQ, Encoder, EncoderQ, Generator
from training.config import TrainConfig


@dataclass
class Networks:
    """The networks of a run, and their moving averages.

    `CriticQ` has two heads on one trunk: D's score and Q's logits.

    Attributes:
        generator: G.
        critic: D; its other head is Q (paper §III-A), or, if Q is on an encoder, what tells D the cluster.
        q: the network whose head is Q: one on an encoder, or the critic itself, as in the paper.
        ema_generator: exponential moving average of G, which is exported.
        ema_q: exponential moving average of `q`, which is exported.
    """

    generator: Generator
    critic: CriticQ
    q: AnyQ
    ema_generator: Generator
    ema_q: AnyQ

    @classmethod
    def create(cls, config: TrainConfig, device: torch.device) -> Networks:
        """Return networks that are freshly initialised from the configuration's seed."""
        torch.manual_seed(config.seed)
        k, n_channels = config.n_clusters, config.n_channels
        generator = Generator(config.channels, k, config.latent_size, config.code_scale, n_channels).to(device)
        critic = CriticQ(config.channels, k, n_channels).to(device)
        q: AnyQ = critic
        if config.encoder:
            # In evaluation mode for good: generated cells must not move the statistics of its batch norms.
            q = EncoderQ(Encoder(n_channels, config.encoder.width), k).to(device).eval()
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


def conditional_scores(critic: CriticQ, crops: Tensor, codes: Tensor) -> Tensor:
    """Return D's scores of cells of known clusters, (B, I, 32, 32) and (B,) int64 → (B,).

    What the critic's second head gives for the cluster is added to the score (Miyato and Koyama 2018), so that D asks
    whether a cell looks like the real cells of its own cluster.
    """
    scores, of_clusters = critic(crops)
    return scores + of_clusters.gather(1, codes[:, None]).squeeze(1)


def q_parameters(q: AnyQ) -> list[nn.Parameter]:
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
