"""Iterations per second of our loop beside the plain one, in turns, in one process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Protocol

import torch

from app.pipeline.types import UInt8Array
from training.config import TrainConfig, load_config
from training.console import write_text
from training.gan.trainer import Trainer
from training.study.baselines.eager_loop import EagerLoop
from training.study.records import provenance

OURS, PLAIN = "ours", "plain eager loop"
ROUNDS = 5
WARM_UP = 2
"""Iterations before the first round: memory is taken and kernels are chosen."""
SCHEDULE = 1125
"""Generator iterations of the paper's ten epochs, of 9,000 cells in four rotations: 10 · 36,000 / (5 · 64)."""
SETTING = ("name", "channels", "batch", "critic_steps", "precision", "device", "threads")
"""What a new row must share with an old one to take its place."""
Row = dict[str, Any]


class Loop(Protocol):
    """What trains by iterations."""

    def step(self) -> Any:
        """One iteration."""


def at_paper_recipe(size: TrainConfig) -> TrainConfig:
    """The paper's recipe in the networks, the batch, the steps of the critic and the precision of `size`."""
    names = ("channels", "n_clusters", "latent_size", "batch_size", "critic_steps", "precision", "seed")
    return replace(load_config(Path("paper")).train, **{name: getattr(size, name) for name in names})


def measure_training_speed(
    size: TrainConfig,
    crops: UInt8Array,
    device: torch.device,
    iterations: int,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> list[Row]:
    """Train both loops for a round in turn; what burdens the machine burdens both.

    The plain loop is float32 whatever the configuration's precision. On CUDA ours lets the whole process multiply at
    TF32, so the plain loop gains from that too.

    Args:
        size: of what is trained; the recipe is the paper's.
        crops: (N, 32, 32, 3) uint8 real cells.
        device: where to train.
        iterations: of each loop in a round.
        track: wraps the rounds, to show progress.

    Returns:
        A row for each loop. iterations_per_second: median of the rounds, which are in `rounds`. ratio: to that of the
        plain loop. schedule_seconds: extrapolated, `SCHEDULE` iterations at that speed.
    """
    config = at_paper_recipe(size)
    loops: dict[str, Loop] = {OURS: Trainer(config, crops, device), PLAIN: EagerLoop(config, crops, device)}
    precision = {OURS: config.precision, PLAIN: "float32"}
    for loop in loops.values():
        time_round(loop, WARM_UP, device)
    rounds: dict[str, list[float]] = {name: [] for name in loops}
    for _ in track(range(ROUNDS)):
        for name, loop in loops.items():
            rounds[name].append(iterations / time_round(loop, iterations, device))
    return [
        {
            "name": name,
            "channels": config.channels,
            "batch": config.batch_size,
            "critic_steps": config.critic_steps,
            "precision": precision[name],
            **compare(rounds[name], rounds[PLAIN]),
            "iterations_per_round": iterations,
            **provenance(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        }
        for name in loops
    ]


def time_round(loop: Loop, iterations: int, device: torch.device) -> float:
    """Seconds that some iterations take, to the end of the last."""
    start = perf_counter()
    for _ in range(iterations):
        loop.step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter() - start


def compare(rounds: list[float], plain: list[float]) -> Row:
    """The figures of a loop, of its rounds and the plain loop's, in iterations per second."""
    speed = median(rounds)
    return {
        "iterations_per_second": speed,
        "ratio": speed / median(plain),
        "schedule_seconds": SCHEDULE / speed,
        "rounds": rounds,
    }


def keep_rows(path: Path, rows: list[Row]) -> None:
    """Add rows to a JSON file, in place of those of the same `SETTING`."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    new = {_setting(row) for row in rows}
    lines = [json.dumps(row, allow_nan=False) for row in [*(row for row in kept if _setting(row) not in new), *rows]]
    write_text(path, "[\n" + ",\n".join(lines) + "\n]\n")


def _setting(row: Row) -> tuple[Any, ...]:
    return tuple(row[field] for field in SETTING)
