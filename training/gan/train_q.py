"""How Q is trained: on real cells and their company, and on the codes of generated cells (eq. 12).

With an encoder, Q learns what clusters tell of each other (`representation.company`) before the GAN begins. It goes on
learning that from real cells, while eq. 12 is a part of the loss of the generator and of its own. Without an encoder,
as in the paper, eq. 12 trains Q and the generator together.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from app.pipeline.crops import to_network
from app.pipeline.networks.architecture import AnyQ, Encoder, EncoderQ, Trunk, pooled
from app.pipeline.types import Float32Array
from training.cells.unlabelled import UnlabelledCells
from training.config import TrainConfig
from training.gan.checks import in_chunks
from training.gan.losses import code_loss
from training.gan.sampler import rotate
from training.precision import forward_precision
from training.representation.company import gain_of, learn_head, neighbours_of, tiles_of
from training.representation.encoder import move
from training.representation.encoder import views as random_views
from training.representation.pretrain import encoder_config

VIEWS = 4
"""Number of views of each cell that the head of a Q on an encoder learns from."""


def learn_clusters(config: TrainConfig, cells: UnlabelledCells, encoder: Encoder) -> EncoderQ:
    """Return a Q on an encoder, whose head has learned the clusters of real cells from their company.

    Args:
        config: K, the views, the seed.
        cells: N real cells; their crops are what Q sees.
        encoder: in evaluation mode; it does not change.
    """
    q = EncoderQ(encoder, config.n_clusters).eval()
    device = next(encoder.parameters()).device
    views = views_of(config, encoder, torch.from_numpy(to_network(cells.crops)).to(device))
    neighbours = neighbours_of(cells.centroids, cells.tile_index)
    settings = encoder_config(config)
    q.code_logits = learn_head(
        views,
        cells.tile_index,
        neighbours,
        config.n_clusters,
        config.seed,
        settings.view_weight,
        random_starts=settings.random_starts,
    ).to(device)
    return q


def views_of(config: TrainConfig, trunk: Trunk | Encoder, crops: Tensor) -> Float32Array:
    """Return the features of random views of cells.

    Args:
        config: the views, the seed, the precision.
        trunk: the encoder, in evaluation mode.
        crops: (N, C, 32, 32) in [-1, 1].

    Returns:
        (VIEWS, N, F) float32.
    """
    random = torch.Generator().manual_seed(config.seed)

    def features(shown: Tensor) -> Tensor:
        with forward_precision(config, crops.device):
            return pooled(trunk.maps(random_views(shown, encoder_config(config), random)))

    return np.stack([in_chunks(features, crops).float().cpu().numpy() for _ in range(VIEWS)])


class Company:
    """Real cells beside each other, which Q goes on learning from while the GAN trains.

    Args:
        cells: N real cells; their crops are what Q sees.
        config: size of a batch, the views.
        crops: (N, C, 32, 32) float32 in [-1, 1], the same crops as the networks take them.
        random: CPU generator that every draw comes from.
    """

    def __init__(self, cells: UnlabelledCells, config: TrainConfig, crops: Tensor, random: torch.Generator) -> None:
        self.views = encoder_config(config)
        self.size = config.batch_size
        self.crops = crops
        self.random = random
        self.neighbours = torch.from_numpy(neighbours_of(cells.centroids, cells.tile_index))
        self.tiles = [torch.from_numpy(members) for members in tiles_of(cells.tile_index)]
        self.sizes = torch.tensor([float(len(members)) for members in self.tiles])

    def gain(self, q: AnyQ) -> Tensor:
        """Return what Q's clusters of some cells of one tile tell, see `company.gain_of`."""
        tile = self.tiles[int(torch.multinomial(self.sizes, 1, generator=self.random))]
        members = tile[torch.randint(len(tile), (self.size,), generator=self.random)]
        column = torch.randint(self.neighbours.shape[1], (self.size,), generator=self.random)
        index = torch.cat([members, self.neighbours[members, column], members])
        shown = random_views(self.crops[move(index, self.crops.device)], self.views, self.random)
        one, beside, again = functional.softmax(q.logits(shown).float(), dim=1).chunk(3)
        return gain_of(one, beside, again, self.views.view_weight)


def generated_code_loss(cells: Tensor, q: AnyQ, codes: Tensor, random: torch.Generator) -> Tensor:
    """Return eq. 12 of generated cells that are rotated as the real ones are.

    Without rotations, G settles on one orientation per code and Q learns it: the cluster of a real cell would then
    depend on how the slide lay under the camera.

    Args:
        cells: (B, I, 32, 32), generated.
        q: the network whose head is Q.
        codes: (B,) int64 index of each c.
        random: draws the rotations.
    """
    return code_loss(q.logits(rotate(cells, random)), codes)
