"""The training loop: cells → a directory of a run, which can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from app.pipeline.types import UInt8Array
from training import checkpoint
from training.config import TrainConfig
from training.errors import DataError
from training.gan.train_q import learn_anchors
from training.gan.trainer import Trainer
from training.representation.anchors import anchor_cells
from training.tracking import MetricsLog, finite_losses, save_grid


def training_loop(
    config: TrainConfig,
    crops: UInt8Array,
    directory: Path,
    device: torch.device,
    *,
    stop_after: int | None = None,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Trainer:
    """Train, or resume the training, in `directory`.

    Args:
        config: the configuration of the run.
        crops: (N, 32, 32, 3) uint8 real cells.
        directory: receives checkpoint.pt, metrics.jsonl and samples/; if it holds a checkpoint, the run goes on there.
        device: where to train.
        stop_after: pause after this iteration, with a checkpoint.
        track: wraps the iterations still to do, to show progress.

    Returns:
        The trainer after its last iteration.

    Raises:
        DivergedError: a loss became infinite or NaN; the last checkpoint stays.
        CheckpointError: the checkpoint is damaged or of an earlier version.
    """
    (directory / "samples").mkdir(parents=True, exist_ok=True)
    if (state := checkpoint.load(directory, device)) is None:
        trainer = new_trainer(config, crops, device, track)
    else:
        trainer = Trainer(config, crops, device)
        trainer.restore(state)
    log = MetricsLog(directory / "metrics.jsonl", resume_at=trainer.iteration)

    last = min(config.generator_iterations, stop_after or config.generator_iterations)
    for _ in track(range(trainer.iteration, last)):
        losses = trainer.step()
        checkpoint_due = trainer.iteration % config.checkpoint_every == 0 or trainer.iteration == last
        if checkpoint_due or trainer.iteration % config.log_every == 0:
            log.write({"iteration": trainer.iteration, **finite_losses(losses, trainer.iteration)})
        if checkpoint_due:
            log.write({"iteration": trainer.iteration, "checks": trainer.check(crops)})
            save_grid(directory / "samples" / f"{trainer.iteration:06d}.png", trainer.sample_grid(), config.n_clusters)
            checkpoint.save(directory, trainer.state())
    return trainer


def new_trainer(
    config: TrainConfig,
    crops: UInt8Array,
    device: torch.device,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Trainer:
    """Return the trainer of a new run, before the first iteration; if the configuration has anchors, Q knows them.

    Args:
        config: the configuration of the run.
        crops: (N, 32, 32, 3) uint8 real cells.
        device: where to train.
        track: wraps the steps of Q, to show progress.
    """
    if not config.anchor_steps:
        return Trainer(config, crops, device)
    trainer = Trainer(config, crops, device, anchor_cells(crops, config.n_clusters, config.seed))
    learn_anchors(trainer.nets, trainer.sample_real, config, track)
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
