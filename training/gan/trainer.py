"""One step of each network: critic, generator and Q in turn (paper §III-A1, §IV-B)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import get_ema_multi_avg_fn

from app.pipeline.crops import from_network
from app.pipeline.networks.architecture import CriticQ, Generator
from app.pipeline.types import Int64Array, UInt8Array
from training.config import TrainConfig
from training.gan.checks import check_model
from training.gan.losses import code_loss, critic_loss, generator_loss, gradient_penalty, mode_seeking_loss
from training.gan.piecewise_linear import PiecewiseLinear
from training.gan.sampler import CropSampler, rotate

GRID_ROWS = 8
ANCHOR_BATCH = 128
"""Real cells in one step of Q alone."""
ANCHOR_RATE = 1e-3
"""Adam's rate in those steps, falling to 0 along a half cosine."""


@dataclass
class Networks:
    """The networks of a run, and the averages that are exported.

    Attributes:
        generator: G.
        critic: D, and Q where there are no anchors.
        judge: holds Q: the critic itself, or, where Q knows anchors, a network of its own.
        mean_generator: average of G.
        mean_critic: average of the judge.
    """

    generator: Generator
    critic: CriticQ
    judge: CriticQ
    mean_generator: Generator
    mean_critic: CriticQ

    @classmethod
    def create(cls, config: TrainConfig, device: torch.device) -> Networks:
        """Freshly initialised from the configuration's seed."""
        torch.manual_seed(config.seed)
        generator = Generator(config.channels, config.n_clusters, config.latent_size, config.code_scale).to(device)
        critic = CriticQ(config.channels, config.n_clusters).to(device)
        judge = CriticQ(config.channels, config.n_clusters).to(device) if config.anchor_steps else critic
        for net in (generator, critic, judge):
            net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cls(generator, critic, judge, copy.deepcopy(generator).eval(), copy.deepcopy(judge).eval())

    def average(self, decay: float) -> None:
        """Move the averages towards the current weights: w̄ ← decay · w̄ + (1 − decay) · w."""
        update = get_ema_multi_avg_fn(decay)
        for mean, current in ((self.mean_generator, self.generator), (self.mean_critic, self.judge)):
            pairs = [*zip(mean.state_dict().values(), current.state_dict().values(), strict=True)]
            averaged = [pair for pair in pairs if pair[0].is_floating_point()]
            update([target for target, _ in averaged], [source for _, source in averaged], None)
            for target, source in pairs:
                if not target.is_floating_point():
                    target.copy_(source)


class Trainer:
    """One step of each network, with all the state that they need.

    Args:
        config: the run.
        crops: (N, 32, 32, 3) uint8 real cells.
        device: where the networks live. Every random draw is made on the CPU, so that the draws do not depend on it.
        anchors: (N,) int64, see `anchors`; None: none are used, or they come with a restored state.
    """

    def __init__(
        self, config: TrainConfig, crops: UInt8Array, device: torch.device, anchors: Int64Array | None = None
    ) -> None:
        if device.type == "cuda":
            # TF32 for what stays float32, in all of this process; convolutions have it by default.
            torch.set_float32_matmul_precision("high")
        self.config = config
        self.device = device
        self.iteration = 0
        self.nets = Networks.create(config, device)
        self.random = torch.Generator().manual_seed(config.seed)
        if anchors is None:
            anchors = np.zeros(len(crops), np.int64)
        self.sample_real = CropSampler(crops, anchors, config.batch_size, self.random, device)
        betas = (config.beta1, config.beta2)
        rate = config.learning_rate
        generator, critic, judge = self.nets.generator, self.nets.critic, self.nets.judge
        # As in the public code, the step of Q moves the generator, the trunk and the head of Q; or, where Q knows its
        # anchors, the generator alone.
        of_q = [] if config.anchor_steps else [*judge.trunk.parameters(), *judge.code_logits.parameters()]
        self.optimisers = {
            "critic": torch.optim.Adam(critic.parameters(), rate, betas, fused=True),
            "generator": torch.optim.Adam(generator.parameters(), rate, betas, fused=True),
            "code": torch.optim.Adam([*generator.parameters(), *of_q], rate, betas, fused=True),
        }

    def prior(self) -> Tensor:
        """(K,) share of each code among generated cells: its anchor's among real ones, or even without anchors."""
        k = self.config.n_clusters
        if not self.config.anchor_steps:
            return torch.full((k,), 1 / k)
        counts = torch.bincount(self.sample_real.anchors.cpu(), minlength=k)
        return counts / counts.sum()

    def draw_latent(self, *, paired: bool = False) -> tuple[Tensor, Tensor]:
        """A batch of [one-hot c, z] (B, K + Z) and of c's index (B,); `paired`: the second half repeats the codes."""
        size = self.config.batch_size
        codes = torch.multinomial(self.prior(), size, replacement=True, generator=self.random)
        z = torch.randn(size, self.config.latent_size, generator=self.random)
        if paired:
            codes = codes[: size // 2].repeat(2)
        one_hot = functional.one_hot(codes, self.config.n_clusters).float()
        return torch.cat([one_hot, z], dim=1).to(self.device), codes.to(self.device)

    def critic_step(self) -> dict[str, Tensor]:
        """Minimise eq. 10 (and, by `critic_code_weight`, eq. 12 on the same generated cells)."""
        config, critic = self.config, self.nets.critic
        real, _ = self.sample_real()
        latent, codes = self.draw_latent()
        mix = torch.rand(config.batch_size, generator=self.random).to(self.device)
        with self._autocast():
            with torch.no_grad():
                fake = self.nets.generator(latent).float()
            scores, logits = critic(torch.cat([real, fake]))
            real_scores, fake_scores = scores.chunk(2)
            wasserstein = critic_loss(real_scores, fake_scores)
            penalty = gradient_penalty(self._score, real, fake, mix)
            loss = wasserstein + config.penalty_weight * penalty
            if config.critic_code_weight:
                loss = loss + config.critic_code_weight * code_loss(logits[config.batch_size :], codes)
        self._descend("critic", loss)
        return {"wasserstein": -wasserstein.detach(), "penalty": penalty.detach()}

    def _score(self, cells: Tensor) -> Tensor:
        """D's scores (B,), for the penalty on their gradient."""
        with PiecewiseLinear():
            return self.nets.critic(cells)[0]

    def generator_step(self) -> dict[str, Tensor]:
        """Minimise eq. 11 (and, by `mode_seeking_weight`, the mode-seeking loss)."""
        config = self.config
        latent, _ = self.draw_latent(paired=config.mode_seeking_weight > 0)
        with self._autocast(), _frozen(self.nets.critic):
            cells = self.nets.generator(latent)
            loss = generator_loss(self.nets.critic(cells)[0])
            if config.mode_seeking_weight:
                z = latent[:, config.n_clusters :]
                loss = loss + config.mode_seeking_weight * mode_seeking_loss(cells, z)
        self._descend("generator", loss)
        return {"loss_g": loss.detach()}

    def code_step(self) -> dict[str, Tensor]:
        """Minimise eq. 12, on generated cells turned as the real ones are.

        Unturned, G settles on one orientation per code and Q learns it: the cluster of a real cell would then depend on
        how the slide lay under the camera.
        """
        latent, codes = self.draw_latent()
        with self._autocast():
            cells = rotate(self.nets.generator(latent), self.random)
            loss = code_loss(self.nets.judge(cells)[1], codes)
        self._descend("code", self.config.code_weight * loss)
        return {"loss_q": loss.detach()}

    def learn_anchors(self, track: Callable[[Iterable[int]], Iterable[int]] = iter) -> None:
        """Teach Q the anchors of real cells, before the first iteration."""
        judge, steps = self.nets.judge, self.config.anchor_steps
        optimiser = torch.optim.Adam([*judge.trunk.parameters(), *judge.code_logits.parameters()], ANCHOR_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in track(range(steps)):
            crops, anchors = self.sample_real.tinted(ANCHOR_BATCH, self.config.stain_jitter)
            with self._autocast():
                loss = code_loss(judge(crops)[1], anchors)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
        self.nets.mean_critic.load_state_dict(judge.state_dict())
        judge.requires_grad_(False)

    def step(self) -> dict[str, Tensor]:
        """One iteration: `critic_steps` of the critic, one of the generator, one of Q, and the averages."""
        values: dict[str, Tensor] = {}
        for _ in range(self.config.critic_steps):
            values |= self.critic_step()
        values |= self.generator_step() | self.code_step()
        self.iteration += 1
        # A fresh average would remember the random start for thousands of steps; let it warm up.
        self.nets.average(min(self.config.ema_decay, self.iteration / (self.iteration + 10)))
        return values

    def _autocast(self) -> torch.autocast:
        """The precision of one forward pass.

        Of no more than one: until it ends, autocast keeps what it made of the weights, whatever a descent did to them.
        """
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16")

    def _descend(self, name: str, loss: Tensor) -> None:
        """Move the weights of one optimiser; those of no other have a part in the loss."""
        optimiser = self.optimisers[name]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    def state(self) -> dict[str, Any]:
        """All that decides the rest of the run."""
        return {
            "iteration": self.iteration,
            "random": self.random.get_state(),
            "anchors": self.sample_real.anchors,
            "nets": {name: net.state_dict() for name, net in self._networks().items()},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        self.iteration = state["iteration"]
        self.random.set_state(state["random"].cpu())
        self.sample_real.anchors = state["anchors"].to(self.device)
        for name, net in self._networks().items():
            net.load_state_dict(state["nets"][name])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        if self.config.anchor_steps:
            self.nets.judge.requires_grad_(False)

    def _networks(self) -> dict[str, nn.Module]:
        return {name: getattr(self.nets, name) for name in Networks.__dataclass_fields__}

    def sample_grid(self, rows: int = GRID_ROWS) -> UInt8Array:
        """The paper's grid: z fixed along a row, one column per cluster; (rows · K, 32, 32, 3) uint8."""
        k = self.config.n_clusters
        z = torch.randn(rows, self.config.latent_size, generator=torch.Generator().manual_seed(0))
        latent = torch.cat([torch.eye(k).repeat(rows, 1), z.repeat_interleave(k, dim=0)], dim=1)
        with torch.no_grad():
            return from_network(self.nets.mean_generator(latent.to(self.device)).cpu().numpy())

    def check(self, crops: UInt8Array) -> dict[str, Any]:
        """`check_model` of the averages."""
        return check_model(self.nets.mean_generator, self.nets.mean_critic, crops)


@contextmanager
def _frozen(net: nn.Module) -> Iterator[None]:
    """Ask for no gradients of a network's weights, a third of its backward pass, where another's are to move."""
    net.requires_grad_(False)
    try:
        yield
    finally:
        net.requires_grad_(True)
