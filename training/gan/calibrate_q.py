"""How right the probabilities of Q are: measured on cells that Q has not learned from, and corrected by a temperature.

The Q of a bundle has learned from all training cells, so none of them can show how right it is on others. Therefore the
tiles are dealt into folds, and for each fold a head of Q learns from the other folds alone. What it says of the cells
left out is compared with the clusters of the bundle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.model_selection import GroupKFold

from app.pipeline.crops import seen, to_network
from app.pipeline.fit.calibration import calibration_error, fit_temperature
from app.pipeline.networks.architecture import AnyQ, ClusterNet, pooled
from app.pipeline.types import Float64Array, Int64Array
from training.cells.extract import Cells
from training.config import TrainConfig
from training.gan.checks import in_chunks
from training.gan.train_q import views_of
from training.representation.company import learn_head, neighbours_of
from training.representation.pretrain import encoder_config

FOLDS = 4


def measure_calibration(
    cells: Cells,
    config: TrainConfig,
    q: AnyQ | ClusterNet,
    device: torch.device,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> dict[str, Any] | None:
    """Train a head of Q without each fold of tiles in turn, and compare what it says of that fold with its clusters.

    The tiles of a patient are in the same fold, if patients are known.

    Args:
        cells: N real cells.
        config: how Q is trained.
        q: Q as it is shipped; its own clusters are those that count.
        device: where to train.
        track: wraps the folds, to show progress.

    Returns:
        `app.pipeline.manifest.QCalibration`; None if Q is on no encoder, because nothing but the GAN then says where a
        cell belongs, or if all cells are of one tile or patient.
    """
    groups = groups_of(cells)
    n_folds = min(FOLDS, len(np.unique(groups)))
    if config.encoder is None or n_folds < 2:
        return None
    folds = list(GroupKFold(n_folds).split(groups, groups=groups))
    of_fold, clusters = _by_heads(cells, config, q, device)
    logits = np.zeros((len(cells), config.n_clusters))
    for fold in track(range(n_folds)):
        rest, held_out = folds[fold]
        logits[held_out] = of_fold(rest, held_out)
    return {
        "temperature": fit_temperature(logits, clusters),
        "cells": len(cells),
        "tiles": len(np.unique(cells.tile_index)),
        "folds": n_folds,
        "held_out": "tiles" if cells.labels is None or cells.labels.patients is None else "patients",
        "agreement": float((logits.argmax(axis=1) == clusters).mean()),
        "error_before": calibration_error(logits, clusters),
        "error_after": calibration_error(_tempered(logits, clusters, folds), clusters),
    }


OfFold = Callable[[Int64Array, Int64Array], Float64Array]
"""Indices of the cells that a head learns from, and of M cells that it does not → its logits of the latter, (M, K)."""


def _by_heads(
    cells: Cells, config: TrainConfig, q: AnyQ | ClusterNet, device: torch.device
) -> tuple[OfFold, Int64Array]:
    """Return what trains a head of Q on the shipped encoder, and the clusters by the shipped head, (N,).

    The encoder has seen the cells of all folds, without their clusters: to train one for each fold would take hours. A
    head begins with the shipped clusters of the cells that it learns from: from a beginning of its own it may settle on
    other clusters, and what is asked is how well these are known on other tiles. It numbers its clusters as it likes,
    so they take the numbers with which they agree best where it has learned.
    """
    known = replace(cells.unlabelled, crops=seen(cells.crops, config.crops))
    crops = torch.from_numpy(to_network(known.crops)).to(device)
    features = in_chunks(lambda x: pooled(q.trunk.maps(x)), crops)
    clusters = q.code_logits(features).argmax(dim=1).cpu().numpy()
    seen_in = views_of(config, q.trunk, crops)

    def of_fold(rest: Int64Array, out: Int64Array) -> Float64Array:
        some = known[rest]
        neighbours = neighbours_of(some.centroids, some.tile_index)
        head = learn_head(
            seen_in[:, rest],
            some.tile_index,
            neighbours,
            config.n_clusters,
            config.seed,
            encoder_config(config).view_weight,
            first=clusters[rest],
        )
        with torch.no_grad():
            logits = head(features.cpu()).double().numpy()
        agreement = np.zeros((config.n_clusters, config.n_clusters))
        np.add.at(agreement, (clusters[rest], logits[rest].argmax(axis=1)), 1)
        return np.asarray(logits[out][:, linear_sum_assignment(agreement, maximize=True)[1]])

    return of_fold, clusters


def groups_of(cells: Cells) -> Int64Array:
    """Return what each of N cells belongs to, (N,) int64: its patient if patients are known, else its tile."""
    if cells.labels is None or cells.labels.patients is None:
        return cells.tile_index
    return cells.labels.patients[cells.tile_index]


def _tempered(logits: Float64Array, clusters: Int64Array, folds: list[tuple[Int64Array, Int64Array]]) -> Float64Array:
    """Return the logits of each fold over the temperature of the other folds, so that none judges its own cells."""
    tempered = np.zeros_like(logits)
    for rest, held_out in folds:
        tempered[held_out] = logits[held_out] / fit_temperature(logits[rest], clusters[rest])
    return tempered
