"""The training loop: cells → a directory of a run, which can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import torch

from app.pipeline.crops import seen
from app.pipeline.types import UInt8Array
from training import checkpoint
from training.cells.unlabelled import UnlabelledCells
from training.config import TrainConfig
from training.errors import DataError
from training.gan.train_q import learn_clusters
from training.gan.trainer import Trainer
from training.representation.pretrain import pretrain
from training.tracking import MetricsLog, finite_losses, save_grid


def training_loop(
    config: TrainConfig,
    cells: UnlabelledCells,
    directory: Path,
    device: torch.device,
    *,
    stop_after: int | None = None,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Trainer:
    """Train, or resume the training, in `directory`.

    Args:
        config: the configuration of the run.
        cells: real cells; the crops may have more channels than the networks of the configuration see.
        directory: receives checkpoint.pt, metrics.jsonl and samples/; if it holds a checkpoint, the run goes on there.
            If Q has an encoder, the directory's own is taken, and one is trained first if there is none.
        device: where to train.
        stop_after: pause after this iteration, with a checkpoint.
        track: wraps the iterations still to do, to show progress.

    Returns:
        The trainer after its last iteration.

    Raises:
        DivergedError: a loss became infinite or NaN; the last checkpoint stays.
        CheckpointError: the checkpoint is damaged or of an earlier version.
        DataError: a new run cannot begin with these cells, see `new_trainer`.
    """
    (directory / "samples").mkdir(parents=True, exist_ok=True)
    cells = replace(cells, crops=seen(cells.crops, config.crops))
    if (state := checkpoint.load(directory, device)) is None:
        trainer = new_trainer(config, cells, directory, device, track)
    else:
        trainer = Trainer(config, cells.crops, device, company=cells)
        trainer.restore(state)
    log = MetricsLog(directory / "metrics.jsonl", resume_at=trainer.iteration)

    last = min(config.generator_iterations, stop_after or config.generator_iterations)
    for _ in track(range(trainer.iteration, last)):
        losses = trainer.step()
        checkpoint_due = trainer.iteration % config.checkpoint_every == 0 or trainer.iteration == last
        if checkpoint_due or trainer.iteration % config.log_every == 0:
            log.write({"iteration": trainer.iteration, **finite_losses(losses, trainer.iteration)})
        if checkpoint_due:
            log.write({"iteration": trainer.iteration, "checks": trainer.check(cells.crops)})
            save_grid(directory / "samples" / f"{trainer.iteration:06d}.png", trainer.sample_grid(), config.n_clusters)
            checkpoint.save(directory, trainer.state())
    return trainer


def new_trainer(
    config: TrainConfig,
    cells: UnlabelledCells,
    directory: Path,
    device: torch.device,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Trainer:
    """Return the trainer of a new run, before the first iteration; a Q on an encoder knows its clusters already.

    Args:
        config: the configuration of the run.
        cells: real cells, with the channels that the networks see.
        directory: of the run; it holds or receives the encoder.
        device: where to train.
        track: wraps the epochs of the encoder, to show progress.

    Raises:
        DataError: the cells are fewer than the clusters, or lack channels that the networks see.
    """
    n_cells, n_channels = len(cells), cells.crops.shape[-1]
    if n_cells < config.n_clusters:
        raise DataError(
            f"There are {n_cells} cells for {config.n_clusters} clusters; give more tiles, or a smaller n_clusters."
        )
    if n_channels != config.n_channels:
        raise DataError(
            f"The crops have {n_channels} channels, but crops = '{config.crops}' needs {config.n_channels}; cut the "
            "cells anew with `python -m training cells`."
        )
    if not config.encoder:
        return Trainer(config, cells.crops, device)
    encoder = pretrain(config, cells, directory, device, track=track)
    trainer = Trainer(config, cells.crops, device, company=cells)
    learned = learn_clusters(config, cells, encoder).state_dict()
    for q in (trainer.nets.q, trainer.nets.ema_q):
        q.load_state_dict(learned)
    trainer.recluster()
    return trainer


def restore_trainer(config: TrainConfig, crops: UInt8Array, directory: Path, device: torch.device) -> Trainer:
    """Return the trainer of an existing run, at its last checkpoint.

    Raises:
        DataError: the run has no checkpoint.
        CheckpointError: the checkpoint is damaged or of an earlier version.
    """
    state = checkpoint.load(directory, device)
    if state is None:
        raise DataError(f"{directory} holds no checkpoint; make one with `python -m training train`.")
    trainer = Trainer(config, crops, device)
    trainer.restore(state)
    return trainer
