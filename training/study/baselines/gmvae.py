"""GMVAE: a variational autoencoder whose prior is a Gaussian mixture (Dilokthanakul et al., arXiv 1611.02648, 2016).

w ~ N(0, 1) and a cluster c ~ 1/K choose a Gaussian; x is drawn from it, and the cell y from x. (The publication writes
z for c.) As published: the four terms of the lower bound with one draw of x and w, the exact p(c | x, w), the threshold
below which the term of c is not reduced further (λ, .5 in the authors' code), Bernoulli pixels, and strided
convolutions as in the authors' networks for 32×32. Not as published, and chosen by the bound alone, without types: x
has 16 and w 8 dimensions instead of 200 and 150, and Adam has a rate of 1e-3 instead of 1e-4 for many more iterations.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.study.baselines.dcgan import FEATURES, SLOPE, generator, trunk
from training.study.baselines.generative import GenerativeClusterer, descend, entropy

ITERATIONS = 2400
X_SIZE = 16
W_SIZE = 8
HIDDEN = 256
CLUSTER_TERM_THRESHOLD = 0.5
"""λ of the publication, in nats."""
RATE = 1e-3


class Gmvae(GenerativeClusterer):
    """GMVAE as a clusterer: the clusters are the components of the mixture.

    Args:
        n_clusters: K.
        seed: seed of every random draw.
        iterations: length of the training.
    """

    def __init__(self, n_clusters: int, seed: int, iterations: int = ITERATIONS) -> None:
        super().__init__(GmvaeModel, n_clusters, seed, iterations)


class Gaussian(NamedTuple):
    """Independent normal variables.

    Attributes:
        mean: (…, D).
        log_variance: (…, D).
    """

    mean: Tensor
    log_variance: Tensor

    def draw(self) -> Tensor:
        """Draw a reparametrised sample, (…, D)."""
        return self.mean + (self.log_variance / 2).exp() * torch.randn_like(self.mean)


class Recogniser(nn.Module):
    """The encoder and the mixture prior, which together give the cluster of a cell."""

    def __init__(self, n_clusters: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            trunk(),
            nn.Linear(FEATURES, HIDDEN),
            nn.BatchNorm1d(HIDDEN),
            nn.LeakyReLU(SLOPE),
            nn.Linear(HIDDEN, 2 * (X_SIZE + W_SIZE)),
        )
        self.prior = nn.Sequential(
            nn.Linear(W_SIZE, HIDDEN),
            nn.Tanh(),
            nn.Linear(HIDDEN, 2 * n_clusters * X_SIZE),
            nn.Unflatten(1, (2, n_clusters, X_SIZE)),
        )

    def encode(self, crops: Tensor) -> tuple[Gaussian, Gaussian]:
        """Return q(x | y), (B, X), and q(w | y), (B, W), of crops (B, 3, 32, 32)."""
        parts = self.encoder(crops).float().split([X_SIZE, X_SIZE, W_SIZE, W_SIZE], dim=1)
        return Gaussian(*parts[:2]), Gaussian(*parts[2:])

    def mixture(self, w: Tensor) -> Gaussian:
        """Return p(x | w, c) for every cluster, (B, W) → (B, K, X)."""
        return Gaussian(*self.prior(w).float().unbind(dim=1))

    def forward(self, crops: Tensor) -> Tensor:
        """Return p(c | x, w) at the means of x and w, (B, 3, 32, 32) → (B, K)."""
        x, w = self.encode(crops)
        return responsibilities(x.mean, self.mixture(w.mean))


class GmvaeModel:
    """The recogniser and the decoder, which are trained together."""

    def __init__(self, n_clusters: int) -> None:
        self.classifier = Recogniser(n_clusters)
        self.decoder = generator(X_SIZE)
        for net in (self.classifier, self.decoder):
            net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._adam = torch.optim.Adam([*self.classifier.parameters(), *self.decoder.parameters()], RATE)

    def step(self, real: Tensor) -> dict[str, Tensor]:
        """Take one step up the lower bound.

        Returns:
            The means of the bound's terms over the cells, in nats: `reconstruction` (−log p(y | x)), `divergence_x`,
            `divergence_w`, `divergence_c` (ln K if each cell's cluster is certain), and their sum, `negative_bound`.
        """
        q_x, q_w = self.classifier.encode(real)
        x, w = q_x.draw(), q_w.draw()
        mixture = self.classifier.mixture(w)
        of_clusters = responsibilities(x, mixture)
        reconstruction = reconstruction_loss(self.decoder(x), real)
        divergence_x = expected_divergence(q_x, mixture, of_clusters).mean()
        divergence_w = divergence(q_w, Gaussian(torch.zeros(()), torch.zeros(()))).mean()
        divergence_c = cluster_divergence(of_clusters).mean()
        pursued = divergence_c.clamp_min(CLUSTER_TERM_THRESHOLD)
        descend(self._adam, reconstruction + divergence_x + divergence_w + pursued)
        values = {
            "reconstruction": reconstruction.detach(),
            "divergence_x": divergence_x.detach(),
            "divergence_w": divergence_w.detach(),
            "divergence_c": divergence_c.detach(),
        }
        return {**values, "negative_bound": torch.stack([*values.values()]).sum()}


def reconstruction_loss(logits: Tensor, crops: Tensor) -> Tensor:
    """Return −log p(y | x) of Bernoulli pixels, summed over a crop and averaged over (B, 3, 32, 32) in [-1, 1]."""
    each = functional.binary_cross_entropy_with_logits(logits.float(), (crops + 1) / 2, reduction="none")
    return each.flatten(1).sum(dim=1).mean()


def divergence(q: Gaussian, p: Gaussian) -> Tensor:
    """Return the Kullback–Leibler divergence KL(q ‖ p) in nats, summed over the last dimension, (…, D) → (…)."""
    ratio = (q.log_variance - p.log_variance).exp()
    squares = (q.mean - p.mean).square() / p.log_variance.exp()
    return (ratio + squares - 1 + p.log_variance - q.log_variance).sum(dim=-1) / 2


def responsibilities(x: Tensor, mixture: Gaussian) -> Tensor:
    """Return p(c | x, w) by Bayes's rule with an even prior, (B, X) and Gaussians (B, K, X) → (B, K), rows sum to 1."""
    squares = (x.unsqueeze(1) - mixture.mean).square() / mixture.log_variance.exp()
    return (-(squares + mixture.log_variance).sum(dim=-1) / 2).softmax(dim=1)


def expected_divergence(q_x: Gaussian, mixture: Gaussian, of_clusters: Tensor) -> Tensor:
    """Return the mean of KL(q(x | y) ‖ p(x | w, c)) over the clusters, weighted by (B, K) responsibilities, (B,)."""
    alone = Gaussian(q_x.mean.unsqueeze(1), q_x.log_variance.unsqueeze(1))
    return (of_clusters * divergence(alone, mixture)).sum(dim=1)


def cluster_divergence(of_clusters: Tensor) -> Tensor:
    """Return KL(p(c | x, w) ‖ 1/K) of (B, K) responsibilities, (B,) in 0 to ln K."""
    return math.log(of_clusters.shape[1]) - entropy(of_clusters)
