"""The training loop: from cells to a run, resumable."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from app.pipeline.types import UInt8Array
from training.cells.extract import DataError
from training.config import TrainConfig
from training.gan import checkpoint
from training.gan.tracking import MetricsLog, save_grid
from training.gan.trainer import Trainer
from training.representation.anchors import anchor_cells


class DivergedError(Exception):
    """A loss became infinite or NaN."""


def restore_trainer(config: TrainConfig, crops: UInt8Array, directory: Path, device: torch.device) -> Trainer:
    """The trainer of an existing run, at its last checkpoint.

    Raises:
        DataError: the run has no checkpoint.
    """
    trainer = Trainer(config, crops, device)
    state = checkpoint.load(directory, device)
    if state is None:
        raise DataError(f"{directory} holds no checkpoint; make one with `python -m training train`.")
    trainer.restore(state)
    return trainer


def begin(
    config: TrainConfig,
    crops: UInt8Array,
    device: torch.device,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Trainer:
    """The trainer of a new run, before the first iteration; Q knows its anchors, if it has any.

    Args:
        config: the run.
        crops: of real cells, (N, 32, 32, 3) uint8.
        device: where to train.
        track: wraps the steps of Q, to show progress.
    """
    if not config.anchor_steps:
        return Trainer(config, crops, device)
    anchors = anchor_cells(crops, config.n_clusters, config.seed)
    trainer = Trainer(config, crops, device, anchors)
    trainer.learn_anchors(track)
    return trainer


def training_loop(
    config: TrainConfig,
    crops: UInt8Array,
    directory: Path,
    device: torch.device,
    *,
    stop_after: int | None = None,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Trainer:
    """Train, or go on training, in `directory`.

    Args:
        config: the run.
        crops: of real cells, (N, 32, 32, 3) uint8.
        directory: receives checkpoint.pt, metrics.jsonl and samples/; an existing checkpoint is resumed.
        device: where to train.
        stop_after: pause at this iteration, checkpointed.
        track: wraps the iterations still to do, to show progress.

    Returns:
        The trainer at its last iteration.

    Raises:
        DivergedError: a loss became infinite or NaN; the last checkpoint stays.
    """
    (directory / "samples").mkdir(parents=True, exist_ok=True)
    if (state := checkpoint.load(directory, device)) is None:
        trainer = begin(config, crops, device, track)
    else:
        trainer = Trainer(config, crops, device)
        trainer.restore(state)
    log = MetricsLog(directory / "metrics.jsonl", resume_at=trainer.iteration)

    last = min(config.generator_iterations, stop_after or config.generator_iterations)
    for _ in track(range(trainer.iteration, last)):
        values = trainer.step()
        done = trainer.iteration == last
        keep = trainer.iteration % config.checkpoint_every == 0 or done
        if trainer.iteration % config.log_every == 0 or keep:
            row = {name: round(float(value), 6) for name, value in values.items()}
            if not all(abs(value) < float("inf") for value in row.values()):
                raise DivergedError(f"Training diverged at iteration {trainer.iteration}: {row}")
            log.write({"iteration": trainer.iteration, **row})
        if keep:
            log.write({"iteration": trainer.iteration, "checks": trainer.check(crops)})
            save_grid(directory / "samples" / f"{trainer.iteration:06d}.png", trainer.sample_grid(), config.n_clusters)
            checkpoint.save(directory, trainer.state())
    return trainer
