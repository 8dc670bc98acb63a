"""CatGAN: categorical generative adversarial networks (Springenberg, ICLR 2016), with DCGAN's networks.

As published: the unsupervised objective, with its marginal entropies estimated on a batch. Adam and the rate of D are
DCGAN's. Not as published, and chosen without types:
- D averages its network's answers for the four turns of a crop. If it sees one turn at a time, it separates cells by
  their orientation: turning a cell by 90° then moves it to another cluster about half of the time.
- G learns at InfoGAN's rate, five times that of D; at a lower rate D gets too far ahead of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.study.baselines.dcgan import FEATURES, generator, initialise, trunk
from training.study.baselines.generative import GenerativeClusterer, descend, entropy

ITERATIONS = 1600
LATENT_SIZE = 32
"""The paper's z (§IV-B)."""
RATE_D = 2e-4
RATE_G = 1e-3
BETAS = (0.5, 0.999)
TURNS = 4


class CatGan(GenerativeClusterer):
    """CatGAN as a clusterer: the clusters are D's categories.

    Args:
        n_clusters: K.
        seed: seed of every random draw.
        iterations: length of the training.
    """

    def __init__(self, n_clusters: int, seed: int, iterations: int = ITERATIONS) -> None:
        super().__init__(CatGanModel, n_clusters, seed, iterations)


class TurnInvariant(nn.Module):
    """A classifier that averages its probabilities over the four turns of a crop.

    Args:
        logits: (B, 3, 32, 32) → (B, K).
    """

    def __init__(self, logits: nn.Module) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, crops: Tensor) -> Tensor:
        """Return probabilities, (B, 3, 32, 32) → (B, K), rows sum to 1."""
        turned = torch.cat([crops.rot90(quarter, dims=(2, 3)) for quarter in range(TURNS)])
        return self.logits(turned).float().softmax(dim=1).unflatten(0, (TURNS, -1)).mean(dim=0)


class CatGanModel:
    """The networks D, with K categories, and G, and their optimisers."""

    def __init__(self, n_clusters: int) -> None:
        self.classifier = TurnInvariant(nn.Sequential(trunk(), nn.Linear(FEATURES, n_clusters)))
        self.generator = nn.Sequential(generator(LATENT_SIZE), nn.Tanh())
        for net in (self.classifier, self.generator):
            net.apply(initialise).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._adam_d = torch.optim.Adam(self.classifier.parameters(), RATE_D, BETAS)
        self._adam_g = torch.optim.Adam(self.generator.parameters(), RATE_G, BETAS)

    def step(self, real: Tensor) -> dict[str, Tensor]:
        """Train D once and G once; D sees four turns of a quarter of the batch.

        Returns:
            Entropies in nats, 0 to ln K: `real_entropy` and `fake_entropy` are means over cells, and
            `real_marginal_entropy` and `fake_marginal_entropy` those of the mean over the batch.
        """
        real = real[: len(real) // TURNS]
        fake = self.generator(torch.randn(len(real), LATENT_SIZE))
        of_real, of_fake = self.classifier(real), self.classifier(fake.detach())
        descend(self._adam_d, discriminator_loss(of_real, of_fake))
        of_fake_now = self.classifier(fake)
        descend(self._adam_g, generator_loss(of_fake_now))
        return {
            "real_entropy": conditional_entropy(of_real).detach(),
            "fake_entropy": conditional_entropy(of_fake_now).detach(),
            "real_marginal_entropy": marginal_entropy(of_real).detach(),
            "fake_marginal_entropy": marginal_entropy(of_fake_now).detach(),
        }


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return D's loss: certain of each real cell, all categories used alike, uncertain of generated cells.

    Args:
        real: (B, K), probabilities of real cells.
        fake: (B, K), probabilities of generated cells.
    """
    return conditional_entropy(real) - marginal_entropy(real) - conditional_entropy(fake)


def generator_loss(fake: Tensor) -> Tensor:
    """Return G's loss: D has to be certain of its cells, (B, K) probabilities, and use all categories alike."""
    return conditional_entropy(fake) - marginal_entropy(fake)


def conditional_entropy(probabilities: Tensor) -> Tensor:
    """Return the mean entropy of the rows of (B, K), in nats."""
    return entropy(probabilities).mean()


def marginal_entropy(probabilities: Tensor) -> Tensor:
    """Return the entropy of the mean row of (B, K), in nats."""
    return entropy(probabilities.mean(dim=0))
