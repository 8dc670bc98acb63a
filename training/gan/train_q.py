"""How Q is trained: on the anchors of real cells, before the GAN begins, and on the codes of generated cells (eq. 12).

With anchors, Q learns them and then never changes: eq. 12 moves the generator alone, towards cells that Q puts into
their cluster. Without anchors, as in the paper, eq. 12 trains Q and the generator together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from app.pipeline.networks.architecture import AnyQ
from training.config import TrainConfig
from training.gan.losses import code_loss
from training.gan.networks import Networks, q_parameters
from training.gan.sampler import CropSampler, rotate
from training.precision import forward_precision

ANCHOR_BATCH = 128
"""Number of real cells in one step."""
ANCHOR_RATE = 1e-3
"""Adam's learning rate in the first step; it falls to 0 along a half cosine."""


def learn_anchors(
    nets: Networks,
    sample_real: CropSampler,
    config: TrainConfig,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> None:
    """Train Q to predict the anchors of real cells; afterwards no gradient changes it any more.

    Args:
        nets: `q` is trained, and copied to `ema_q`.
        sample_real: draws real cells with their anchors.
        config: its `anchor_steps` are taken, with its `stain_jitter`.
        track: wraps the steps, to show progress.
    """
    optimiser = torch.optim.Adam(q_parameters(nets.q), ANCHOR_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.anchor_steps)
    for _ in track(range(config.anchor_steps)):
        crops, anchors = sample_real.tinted(ANCHOR_BATCH, config.stain_jitter)
        with forward_precision(config, crops.device):
            loss = code_loss(nets.q.logits(crops), anchors)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
    nets.ema_q.load_state_dict(nets.q.state_dict())
    nets.q.requires_grad_(False)


def generated_code_loss(
    generator: nn.Module, q: AnyQ, latent: Tensor, codes: Tensor, random: torch.Generator
) -> Tensor:
    """Return eq. 12 of generated cells that are rotated as the real ones are.

    Without rotations, G settles on one orientation per code and Q learns it: the cluster of a real cell would then
    depend on how the slide lay under the camera.

    Args:
        generator: G.
        q: the network whose head is Q.
        latent: (B, K + Z) rows [one-hot c, z].
        codes: (B,) int64 index of each c.
        random: draws the rotations.
    """
    cells = rotate(generator(latent), random)
    return code_loss(q.logits(cells), codes)
