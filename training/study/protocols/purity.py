"""How pure the clusters are while the GAN learns (paper Fig. 9b): a run on typed cells, paused to be scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from app.pipeline.crops import to_network
from training.config import TrainConfig
from training.gan.checks import assign_clusters
from training.gan.loop import training_loop
from training.gan.tracking import MetricsLog
from training.study.metrics.clusters import score_clusters
from training.study.typed_cells import TypedCells

PURITY = "purity.jsonl"


def purity_while_training(
    cells: TypedCells,
    config: TrainConfig,
    run: Path,
    every: int,
    device: torch.device,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> None:
    """Train on typed cells without their types, and score the clusters every so many iterations.

    Args:
        cells: typed cells.
        config: of the GAN.
        run: directory of the run, as `training_loop` makes it, and purity.jsonl; an unfinished one is resumed.
        every: iterations between two scores.
        device: where to train.
        track: wraps the pauses, to show progress.

    Raises:
        DivergedError: a loss became infinite or NaN.
    """
    run.mkdir(parents=True, exist_ok=True)
    path = run / PURITY
    path.touch()
    real = torch.from_numpy(to_network(cells.unlabelled.crops)).to(device)
    for pause in track(range(every, config.generator_iterations + 1, every)):
        if any(row["iteration"] == pause for row in MetricsLog.read(path)):
            continue
        trainer = training_loop(config, cells.unlabelled.crops, run, device, stop_after=pause)
        scores = score_clusters(cells.types, assign_clusters(trainer.nets.ema_q, real))
        MetricsLog(path, resume_at=pause).write({"iteration": trainer.iteration, **scores})
