"""InfoGAN (Chen et al., NIPS 2016) with one categorical code and DCGAN's networks, as the paper compares with it.

As published: non-saturating GAN losses, λ = 1 on the code's log-likelihood in the steps of both D and G, Q on D's trunk
with a hidden layer of 128, and Adam with a rate of 2e-4 for D and 1e-3 for G. Not as published, and chosen without
types: - Generated cells are turned by random multiples of 90°, as the real ones are. Without this, the code becomes the
  orientation of a cell, and turning a real cell by 90° nearly always moves it to another cluster.
- D sees every cell with Gaussian noise (Arjovsky and Bottou, ICLR 2017); without it, D gets too far ahead of G.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.gan.losses import code_loss
from training.gan.sampler import rotate
from training.study.baselines.dcgan import FEATURES, SLOPE, generator, initialise, trunk
from training.study.baselines.generative import GenerativeClusterer, descend

ITERATIONS = 1600
LATENT_SIZE = 32
"""The paper's z (§IV-B)."""
HIDDEN = 128
CODE_WEIGHT = 1.0
NOISE_SD = 0.3
"""Standard deviation of the noise on crops in [-1, 1]."""
RATE_D = 2e-4
RATE_G = 1e-3
BETAS = (0.5, 0.999)


class InfoGan(GenerativeClusterer):
    """InfoGAN as a clusterer: the clusters are Q's codes.

    Args:
        n_clusters: K.
        seed: seed of every random draw.
        iterations: length of the training.
    """

    def __init__(self, n_clusters: int, seed: int, iterations: int = ITERATIONS) -> None:
        super().__init__(InfoGanModel, n_clusters, seed, iterations)


class InfoGanModel:
    """The generator G, the trunk that D and Q share, their heads, and the optimisers."""

    def __init__(self, n_clusters: int) -> None:
        self.n_clusters = n_clusters
        self.generator = nn.Sequential(generator(n_clusters + LATENT_SIZE), nn.Tanh())
        self.trunk = trunk()
        self.score = nn.Linear(FEATURES, 1)
        self.code_logits = nn.Sequential(
            nn.Linear(FEATURES, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.LeakyReLU(SLOPE), nn.Linear(HIDDEN, n_clusters)
        )
        self.classifier = nn.Sequential(self.trunk, self.code_logits)
        for net in (self.generator, self.score, self.classifier):
            net.apply(initialise).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        of_d_and_q = [*self.classifier.parameters(), *self.score.parameters()]
        self._adam_d = torch.optim.Adam(of_d_and_q, RATE_D, BETAS)
        self._adam_g = torch.optim.Adam(self.generator.parameters(), RATE_G, BETAS)

    def step(self, real: Tensor) -> dict[str, Tensor]:
        """Train D and Q once and G once.

        Returns:
            `loss_d`, `loss_g` without the term of the code, and `loss_q` (ln K for a guess), all in nats; `accuracy_d`,
            the share of real and generated cells that D classifies rightly.
        """
        codes = torch.randint(self.n_clusters, (len(real),))
        one_hot = functional.one_hot(codes, self.n_clusters).float()
        fake = self.generator(torch.cat([one_hot, torch.randn(len(real), LATENT_SIZE)], dim=1))
        fake = rotate(fake, torch.default_generator)

        of_real = self.score(self.trunk(_noisy(real)))
        features = self.trunk(_noisy(fake.detach()))
        of_fake = self.score(features)
        loss_d = discriminator_loss(of_real, of_fake)
        descend(self._adam_d, loss_d + CODE_WEIGHT * code_loss(self.code_logits(features), codes))

        features = self.trunk(_noisy(fake))
        loss_g = generator_loss(self.score(features))
        loss_q = code_loss(self.code_logits(features), codes)
        descend(self._adam_g, loss_g + CODE_WEIGHT * loss_q)
        return {
            "loss_d": loss_d.detach(),
            "loss_g": loss_g.detach(),
            "loss_q": loss_q.detach(),
            "accuracy_d": torch.cat([of_real > 0, of_fake < 0]).float().mean(),
        }


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return −E[log D(x)] − E[log(1 − D(G(z, c)))] of scores before the sigmoid; it is 2 ln 2 for a guess."""
    return functional.softplus(-real.float()).mean() + functional.softplus(fake.float()).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """Return −E[log D(G(z, c))], the non-saturating loss, of scores before the sigmoid."""
    return functional.softplus(-fake.float()).mean()


def _noisy(crops: Tensor) -> Tensor:
    return crops + NOISE_SD * torch.randn_like(crops)
