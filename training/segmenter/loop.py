"""The rounds of the segmenter: tiles → a directory of a run, which can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.segmentation import mark_boundaries

from app.pipeline.types import UInt8Array
from training import checkpoint
from training.config import SegmenterConfig
from training.segmenter.agreement import as_map_network, find_nuclei, maps_of_views, self_agreement
from training.segmenter.lessons import (
    Tile,
    check_same_tiles,
    lessons,
    load_labels,
    load_tiles,
    prepare,
    save_labels,
    save_tiles,
)
from training.segmenter.pseudo_labels import PseudoLabels, labels_of_views
from training.segmenter.trainer import SegmenterTrainer
from training.segmenter.views import LessonSampler
from training.tracking import MetricsLog, finite_losses

PICTURES = "pictures"
PICTURED_TILES = 4
PICTURED_PX = 320
Track = Callable[[str], Callable[[Iterable], Iterable]]


def no_track(description: str) -> Callable[[Iterable], Iterable]:
    """Show no progress."""
    return iter


def segmenter_loop(
    config: SegmenterConfig,
    folders: Sequence[Sequence[Path]],
    directory: Path,
    device: torch.device,
    *,
    stop_after: int | None = None,
    track: Track = no_track,
) -> SegmenterTrainer:
    """Train, or resume the training, in `directory`.

    Args:
        config: the configuration of the run.
        folders: the files of the tiles, by folder.
        directory: receives tiles.npz, labels-<round>.npz, checkpoint.pt, metrics.jsonl and pictures/; if it holds a
            checkpoint, the run goes on there.
        device: where to train.
        stop_after: pause after this many steps in all, with a checkpoint.
        track: takes a description, and returns a function that wraps an iterable, to show progress.

    Returns:
        The trainer; after the last round, its average has the best weights of that round.

    Raises:
        DataError: the tiles cannot be used, or a run on other tiles has begun in the directory.
        DivergedError: a loss became infinite or NaN; the last checkpoint stays.
        CheckpointError: the checkpoint is damaged.
    """
    (directory / PICTURES).mkdir(parents=True, exist_ok=True)
    tiles, first = _prepared(config, folders, directory, track)
    labels = first
    trainer = SegmenterTrainer(config, device)
    if (state := checkpoint.load(directory, device)) is not None:
        trainer.restore(state)
        labels = load_labels(directory, trainer.round) or first
    log = MetricsLog(directory / "metrics.jsonl", resume_at=trainer.iteration)
    while True:
        _train_round(trainer, tiles, labels, directory, log, stop_after, track)
        if not trainer.round_is_over:
            break
        trainer.take_best()
        _picture(trainer, tiles, labels, directory / PICTURES / f"round-{trainer.round}.png")
        if trainer.is_finished or _is_pause(trainer, stop_after):
            break
        labels = _relabel(trainer, tiles, track)
        save_labels(labels, directory, trainer.round + 1)
        trainer.begin_round(trainer.round + 1)
        checkpoint.save(directory, trainer.state())
    return trainer


def _prepared(
    config: SegmenterConfig, folders: Sequence[Sequence[Path]], directory: Path, track: Track
) -> tuple[list[Tile], list[PseudoLabels]]:
    """Return the tiles and their first pseudo-labels, from the directory if it holds them."""
    tiles, labels = load_tiles(directory), load_labels(directory, 0)
    if tiles is None or labels is None:
        tiles, labels = prepare(folders, config.held_out_every, track("tiles"))
        save_labels(labels, directory, 0)
        save_tiles(tiles, directory)
    else:
        check_same_tiles(tiles, folders, directory)
    return tiles, labels


def _train_round(
    trainer: SegmenterTrainer,
    tiles: list[Tile],
    labels: list[PseudoLabels],
    directory: Path,
    log: MetricsLog,
    stop_after: int | None,
    track: Track,
) -> None:
    """Do the remaining steps of a round, or those before the pause."""
    config = trainer.config
    sample = LessonSampler(lessons(tiles, labels), config, trainer.random)
    held_out = [tile.pixels for tile in tiles if tile.held_out]
    for _ in track(f"round {trainer.round + 1}")(range(trainer.step_of_round, config.max_steps)):
        if trainer.round_is_over or _is_pause(trainer, stop_after):
            break
        losses = trainer.step(sample)
        about = {"iteration": trainer.iteration, "round": trainer.round}
        check_due = trainer.step_of_round % config.check_every == 0 or trainer.step_of_round == config.max_steps
        if check_due or trainer.iteration % config.log_every == 0:
            log.write({**about, **finite_losses(losses, trainer.iteration)})
        if check_due:
            checks = self_agreement(held_out, as_map_network(trainer.average, trainer.device, config.precision))
            log.write({**about, "checks": {name: round(value, 6) for name, value in checks.items()}})
            trainer.keep_if_best(checks["agreement"])
        if check_due or _is_pause(trainer, stop_after):
            checkpoint.save(directory, trainer.state())


def _is_pause(trainer: SegmenterTrainer, stop_after: int | None) -> bool:
    return stop_after is not None and trainer.iteration >= stop_after


def _relabel(trainer: SegmenterTrainer, tiles: list[Tile], track: Track) -> list[PseudoLabels]:
    """Make the pseudo-labels of the next round from what the network finds in eight views of each tile."""
    network = as_map_network(trainer.average, trainer.device, trainer.config.precision)
    return [labels_of_views(maps_of_views(tile.pixels, network)) for tile in track("pseudo-labels")(tiles)]


def _picture(trainer: SegmenterTrainer, tiles: list[Tile], labels: list[PseudoLabels], path: Path) -> None:
    """Draw tiles that were held out: their pseudo-labels (nuclei white, uncertain grey) beside the nuclei found."""
    network = as_map_network(trainer.average, trainer.device)
    rows = []
    for tile, label in [pair for pair in zip(tiles, labels, strict=True) if pair[0].held_out][:PICTURED_TILES]:
        pixels = tile.pixels[:PICTURED_PX, :PICTURED_PX]
        found = mark_boundaries(pixels, find_nuclei(pixels, network), color=(1, 1, 0), mode="inner")
        known = np.maximum(label.nucleus, label.uncertain // 2)[:PICTURED_PX, :PICTURED_PX]
        row = np.hstack([pixels, np.repeat(known[..., None], 3, axis=2), np.rint(found * 255).astype(np.uint8)])
        rows.append(_filled(row))
    Image.fromarray(np.vstack(rows)).save(path)


def _filled(row: UInt8Array) -> UInt8Array:
    missing = (PICTURED_PX - row.shape[0], 3 * PICTURED_PX - row.shape[1])
    return np.pad(row, ((0, missing[0]), (0, missing[1]), (0, 0)), constant_values=255)
