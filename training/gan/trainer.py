"""One iteration of the GAN: steps of the critic, the generator and Q in turn (paper §III-A1, §IV-B)."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from app.pipeline.crops import from_network, pictures
from app.pipeline.types import UInt8Array
from training.cells.unlabelled import UnlabelledCells
from training.config import TrainConfig
from training.errors import CheckpointError
from training.gan.checks import assign_clusters, check_model
from training.gan.losses import (
    PiecewiseLinear,
    critic_loss,
    generator_loss,
    gradient_penalty,
    mode_seeking_loss,
)
from training.gan.networks import Networks, conditional_scores, frozen, q_parameters
from training.gan.sampler import CropSampler, mirror, rotate, shift, tint
from training.gan.train_q import Company, generated_code_loss
from training.precision import forward_precision
from training.representation.encoder import move

GRID_ROWS = 8
Q_BETAS = 0.9, 0.999
"""Of the optimiser of a Q on an encoder: it is to move little, and not with every batch."""
Q_RESTS = 0.25
"""Share of the iterations before a Q on an encoder moves: learning what the first, poor cells of G are undoes it."""
RECLUSTER_EVERY = 200
"""Iterations after which the real cells are put into clusters anew, if Q is on an encoder."""


class Trainer:
    """All that a run consists of, and one step of each network.

    Args:
        config: the configuration of the run.
        crops: (N, 32, 32, C) uint8 real cells, with the channels that the networks see.
        device: the networks and the crops live there. Every random draw is made on the CPU, so that the draws are the
            same on every device.
        company: what a Q on an encoder goes on learning from, if `real_weight` is not 0; None if the trainer is not to
            go on.

    Attributes:
        iteration: the number of iterations done.
        nets: the networks.
        clusters: (N,) int64 on the device, the clusters of the real cells, which D is told if Q is on an encoder. They
            are 0 until `recluster` or `restore` brings them.
        prior: (K,) on the CPU, the probability that each code is drawn with: the share of its cluster among the real
            cells, if Q is on an encoder, or 1/K.
    """

    def __init__(
        self,
        config: TrainConfig,
        crops: UInt8Array,
        device: torch.device,
        company: UnlabelledCells | None = None,
    ) -> None:
        if device.type == "cuda":
            # Multiply float32 matrices as TF32 in the whole process; PyTorch does so for convolutions anyway.
            torch.set_float32_matmul_precision("high")
        self.config = config
        self.device = device
        self.iteration = 0
        self.nets = Networks.create(config, device)
        self.random = torch.Generator().manual_seed(config.seed)
        self.sample_real = CropSampler(crops, config.batch_size, self.random, device)
        self.set_clusters(torch.zeros(len(crops), dtype=torch.int64))
        self.company = None
        if config.real_weight and company is not None:
            self.company = Company(company, config, self.sample_real.crops, self.random)
        self.optimisers = self._optimisers()

    def _optimisers(self) -> dict[str, torch.optim.Adam]:
        """Return the optimisers of the three steps."""
        config, nets = self.config, self.nets
        betas = (config.beta1, config.beta2)
        generator = {"params": [*nets.generator.parameters()]}
        of_q: dict[str, Any] = {"params": q_parameters(nets.q)}
        if config.encoder:
            of_q |= {"lr": config.q_learning_rate, "betas": Q_BETAS}
        moved: dict[str, list[dict[str, Any]]] = {
            "critic": [{"params": [*nets.critic.parameters()]}],
            "generator": [generator],
            # As in the public code, Q's step of the paper moves the generator, the trunk and Q's head.
            "code": [of_q] if config.encoder else [generator, of_q],
        }
        return {
            name: torch.optim.Adam([*map(dict, groups)], config.learning_rate, betas, fused=True)
            for name, groups in moved.items()
        }

    def set_clusters(self, clusters: Tensor) -> None:
        """Take over the clusters of the real cells, (N,) int64, to the device, and their shares, to the CPU."""
        k = self.config.n_clusters
        self.clusters = clusters.to(self.device)
        if self.config.encoder:
            # Counted once: a copy of the clusters to the CPU at each draw would wait for the device each time.
            counts = torch.bincount(clusters.cpu(), minlength=k)
            self.prior = counts / counts.sum()
        else:
            self.prior = torch.full((k,), 1 / k)

    def draw_latent(self, *, paired: bool = False) -> tuple[Tensor, Tensor]:
        """Draw the input of G, and the index of its codes.

        Args:
            paired: give the second half of the batch the codes of the first, with a z of its own.

        Returns:
            (B, K + Z) float32 rows [one-hot c, z], and (B,) int64 index of each c.
        """
        size = self.config.batch_size
        codes = torch.multinomial(self.prior, size, replacement=True, generator=self.random)
        if paired:
            codes = codes[: size // 2].repeat(2)
        codes = move(codes, self.device)
        return self.latent_of(codes), codes

    def step(self) -> dict[str, Tensor]:
        """Do one iteration: `critic_steps` steps of the critic, one of the generator, one of Q, and the averages.

        Returns:
            The losses of the last steps by name, scalars on the device.
        """
        values: dict[str, Tensor] = {}
        if self.config.encoder and self.iteration % RECLUSTER_EVERY == 0:
            self.recluster()
        for _ in range(self.config.critic_steps):
            values |= self.critic_step()
        values |= self.generator_step()
        values |= self.encoder_code_step() if self.config.encoder else self.code_step()
        self.iteration += 1
        # With the full decay from the beginning, the random start would weigh in for thousands of steps.
        self.nets.update_averages(min(self.config.ema_decay, self.iteration / (self.iteration + 10)))
        return values

    def conditional_critic_step(self) -> dict[str, Tensor]:
        """Let D part real from generated cells of the same clusters, both varied alike."""
        config = self.config
        real, chosen = self.sample_real.draw()
        codes = self.clusters[chosen]
        mix = move(torch.rand(config.batch_size, generator=self.random), self.device)
        with forward_precision(config, self.device):
            with torch.no_grad():
                fake = self.nets.generator(self.latent_of(codes)).float()
            real, fake = self._varied(real), self._varied(fake)
            scores = conditional_scores(self.nets.critic, torch.cat([real, fake]), codes.repeat(2))
            real_scores, fake_scores = scores.chunk(2)
            wasserstein = critic_loss(real_scores, fake_scores)
            penalty = gradient_penalty(partial(self._score, codes=codes), real, fake, mix)
            loss = wasserstein + config.penalty_weight * penalty
        self._descend("critic", loss)
        return {"wasserstein": -wasserstein.detach(), "penalty": penalty.detach()}

    def latent_of(self, codes: Tensor) -> Tensor:
        """Draw the input of G for some codes, (B,) int64 → (B, K + Z) rows [one-hot c, z]."""
        z = move(torch.randn(len(codes), self.config.latent_size, generator=self.random), self.device)
        return torch.cat([functional.one_hot(codes, self.config.n_clusters).float(), z], dim=1)

    def _varied(self, cells: Tensor) -> Tensor:
        """Return what D is shown of cells: mirrored, turned and shifted, with stronger or weaker stains."""
        config, random = self.config, self.random
        posed = shift(mirror(rotate(cells, random), random), config.critic_shift_px, random)
        return tint(posed, config.critic_density_jitter, random) if config.critic_density_jitter else posed

    def critic_step(self) -> dict[str, Tensor]:
        """Minimise eq. 10."""
        if self.config.encoder:
            return self.conditional_critic_step()
        config, critic = self.config, self.nets.critic
        real = self.sample_real()
        latent, _ = self.draw_latent()
        mix = move(torch.rand(config.batch_size, generator=self.random), self.device)
        with forward_precision(config, self.device):
            with torch.no_grad():
                fake = self.nets.generator(latent).float()
            real_scores, fake_scores = critic(torch.cat([real, fake]))[0].chunk(2)
            wasserstein = critic_loss(real_scores, fake_scores)
            penalty = gradient_penalty(self._score, real, fake, mix)
            loss = wasserstein + config.penalty_weight * penalty
        self._descend("critic", loss)
        return {"wasserstein": -wasserstein.detach(), "penalty": penalty.detach()}

    def _score(self, cells: Tensor, codes: Tensor | None = None) -> Tensor:
        """Return D's scores (B,), for the penalty on their gradient."""
        with PiecewiseLinear():
            if codes is not None:
                return conditional_scores(self.nets.critic, cells, codes)
            return self.nets.critic(cells)[0]

    def generator_step(self) -> dict[str, Tensor]:
        """Minimise eq. 11 (and, by `mode_seeking_weight`, the mode-seeking loss)."""
        config = self.config
        latent, codes = self.draw_latent(paired=config.mode_seeking_weight > 0)
        with forward_precision(config, self.device), frozen(self.nets.critic):
            cells = self.nets.generator(latent)
            if config.encoder:
                scores = conditional_scores(self.nets.critic, self._varied(cells.float()), codes)
            else:
                scores = self.nets.critic(cells)[0]
            loss = generator_loss(scores)
            if config.encoder:
                with frozen(self.nets.q):
                    of_code = generated_code_loss(cells, self.nets.q, codes, self.random)
                loss = loss + config.code_weight * of_code
            if config.mode_seeking_weight:
                z = latent[:, config.n_clusters :]
                loss = loss + config.mode_seeking_weight * mode_seeking_loss(cells, z)
        self._descend("generator", loss)
        return {"loss_g": loss.detach()}

    def code_step(self) -> dict[str, Tensor]:
        """Minimise eq. 12 in Q and the generator together, as the paper does."""
        latent, codes = self.draw_latent()
        with forward_precision(self.config, self.device):
            loss = generated_code_loss(self.nets.generator(latent), self.nets.q, codes, self.random)
        self._descend("code", self.config.code_weight * loss)
        return {"loss_q": loss.detach()}

    def encoder_code_step(self) -> dict[str, Tensor]:
        """Minimise eq. 12 in a Q on an encoder alone, and let it learn from the company of real cells."""
        config = self.config
        if self.iteration < Q_RESTS * config.generator_iterations:
            return {}
        latent, codes = self.draw_latent()
        with forward_precision(config, self.device):
            with torch.no_grad():
                cells = self.nets.generator(latent)
            loss = generated_code_loss(cells, self.nets.q, codes, self.random)
            gain = self.company.gain(self.nets.q) if self.company else torch.zeros(())
        self._descend("code", config.code_weight * loss - config.real_weight * gain)
        return {"loss_q": loss.detach(), "gain": gain.detach()}

    def recluster(self) -> None:
        """Let the clusters of the real cells, which D and the prior know, be those of Q as it is now."""
        clusters = assign_clusters(self.nets.ema_q, self.sample_real.crops)
        self.set_clusters(torch.from_numpy(clusters))

    def _descend(self, name: str, loss: Tensor) -> None:
        """Take a step of one optimiser; only its weights may have a part in the loss."""
        optimiser = self.optimisers[name]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    def state(self) -> dict[str, Any]:
        """Return all that decides the rest of the run, as tensors and plain values."""
        return {
            "iteration": self.iteration,
            "random": self.random.get_state(),
            "clusters": self.clusters,
            "nets": {name: net.state_dict() for name, net in self.nets.by_name().items()},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a state that `state` returned.

        Raises:
            CheckpointError: an earlier version of the training wrote it, with other names for what it holds.
        """
        nets = self.nets.by_name()
        held, needed = {*state, *state["nets"]}, {*self.state(), *nets}
        if held != needed:
            raise CheckpointError(
                f"The checkpoint is of an earlier version: it holds {', '.join(sorted(held))}, and this version needs "
                f"{', '.join(sorted(needed))}. Go on with the version that began the run, or train anew in another "
                "directory."
            )
        self.iteration = state["iteration"]
        self.random.set_state(state["random"].cpu())
        self.set_clusters(state["clusters"])
        for name, net in nets.items():
            net.load_state_dict(state["nets"][name])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])

    def sample_grid(self, rows: int = GRID_ROWS) -> UInt8Array:
        """Generate the paper's grid: z fixed along a row, one column per cluster; (rows · K, 32, 32, 3) uint8."""
        k = self.config.n_clusters
        z = torch.randn(rows, self.config.latent_size, generator=torch.Generator().manual_seed(0))
        latent = torch.cat([torch.eye(k).repeat(rows, 1), z.repeat_interleave(k, dim=0)], dim=1)
        with torch.no_grad():
            return pictures(from_network(self.nets.ema_generator(latent.to(self.device)).cpu().numpy()))

    def check(self, crops: UInt8Array) -> dict[str, Any]:
        """Return `check_model` of the averaged networks."""
        return check_model(self.nets.ema_generator, self.nets.ema_q, crops)
