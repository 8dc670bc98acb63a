"""The paper's training as one would write it down from the paper (§III-A1, §IV-B), to compare our loop's speed with.

It computes in float32 with contiguous tensors and PyTorch's defaults, and averages no weights. Crops are uint8 on the
host until they are used; the critic sees real, generated and mixed cells in separate calls; and the gradient of every
weight is computed, whether it is needed or not. Networks, losses and random draws are ours: with the same seed, both
loops learn the same.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from app.pipeline.crops import to_network
from app.pipeline.networks.architecture import CriticQ, Generator
from app.pipeline.types import UInt8Array
from training.config import TrainConfig
from training.gan.losses import code_loss, critic_loss, generator_loss, gradient_penalty
from training.gan.sampler import rotate


class EagerLoop:
    """The plain loop, for the paper's recipe alone.

    Args:
        config: configuration of the training; what the paper does not have, and the precision, is ignored.
        crops: (N, 32, 32, 3) uint8, real cells.
        device: device of the networks.
    """

    def __init__(self, config: TrainConfig, crops: UInt8Array, device: torch.device) -> None:
        self.config, self.crops, self.device = config, crops, device
        self.random = torch.Generator().manual_seed(config.seed)
        torch.manual_seed(config.seed)
        self.generator = Generator(config.channels, config.n_clusters, config.latent_size, config.code_scale).to(device)
        self.critic = CriticQ(config.channels, config.n_clusters).to(device)
        of_q = [*self.critic.trunk.parameters(), *self.critic.code_logits.parameters()]
        rate, betas = config.learning_rate, (config.beta1, config.beta2)
        self.critic_adam = torch.optim.Adam(self.critic.parameters(), rate, betas)
        self.generator_adam = torch.optim.Adam(self.generator.parameters(), rate, betas)
        self.code_adam = torch.optim.Adam([*self.generator.parameters(), *of_q], rate, betas)

    def step(self) -> dict[str, Tensor]:
        """Train for one iteration: `critic_steps` steps of the critic, one of the generator and one of Q."""
        values: dict[str, Tensor] = {}
        for _ in range(self.config.critic_steps):
            values |= self.critic_step()
        return values | self.generator_step() | self.code_step()

    def critic_step(self) -> dict[str, Tensor]:
        """Minimise eq. 10 for one step of the critic."""
        real, (latent, _) = self.draw_real(), self.draw_latent()
        mix = torch.rand(len(real), generator=self.random).to(self.device)
        fake = self.generator(latent).detach()
        wasserstein = critic_loss(self.critic(real)[0], self.critic(fake)[0])
        penalty = gradient_penalty(lambda x: self.critic(x)[0], real, fake, mix)
        self._descend(self.critic_adam, wasserstein + self.config.penalty_weight * penalty)
        return {"wasserstein": -wasserstein.detach(), "penalty": penalty.detach()}

    def generator_step(self) -> dict[str, Tensor]:
        """Minimise eq. 11 for one step of the generator."""
        latent, _ = self.draw_latent()
        loss = generator_loss(self.critic(self.generator(latent))[0])
        self._descend(self.generator_adam, loss)
        return {"loss_g": loss.detach()}

    def code_step(self) -> dict[str, Tensor]:
        """Minimise eq. 12 for one step of Q and the generator; generated cells are turned as real ones are."""
        latent, codes = self.draw_latent()
        loss = code_loss(self.critic(rotate(self.generator(latent), self.random))[1], codes)
        self._descend(self.code_adam, self.config.code_weight * loss)
        return {"loss_q": loss.detach()}

    def draw_real(self) -> Tensor:
        """Draw real cells, (B, 3, 32, 32) in [-1, 1]; they are converted for this batch."""
        chosen = torch.randint(len(self.crops), (self.config.batch_size,), generator=self.random)
        return rotate(torch.from_numpy(to_network(self.crops[chosen.numpy()])).to(self.device), self.random)

    def draw_latent(self) -> tuple[Tensor, Tensor]:
        """Draw [one-hot c, z], (B, K + Z), and the index of c, (B,)."""
        k, size = self.config.n_clusters, self.config.batch_size
        codes = torch.multinomial(torch.full((k,), 1 / k), size, replacement=True, generator=self.random)
        z = torch.randn(size, self.config.latent_size, generator=self.random)
        latent = torch.cat([functional.one_hot(codes, k).float(), z], dim=1)
        return latent.to(self.device), codes.to(self.device)

    def _descend(self, adam: torch.optim.Adam, loss: Tensor) -> None:
        adam.zero_grad()
        loss.backward()
        adam.step()
