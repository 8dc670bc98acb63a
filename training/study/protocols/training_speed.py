"""Speed of training: iterations per second of our loop and of the plain one, which take turns in one process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from app.pipeline.crops import seen
from app.pipeline.types import UInt8Array
from training.config import TrainConfig, load_config
from training.console import write_text
from training.study.records import provenance

if TYPE_CHECKING:
    import torch

OURS, PLAIN = "ours", "plain eager loop"
ROUNDS = 5
WARM_UP = 2
"""Iterations before the first round, in which memory is allocated and kernels are chosen."""
SCHEDULE = 1125
"""Generator iterations of the paper's ten epochs, with 9,000 cells in four rotations: 10 · 36,000 / (5 · 64)."""
SETTING = ("name", "channels", "batch", "critic_steps", "precision", "device", "threads")
"""A new row replaces an old one that agrees with it in all of these fields."""
Row = dict[str, Any]


class Loop(Protocol):
    """A training loop."""

    def step(self) -> Any:
        """Train for one iteration."""


def at_paper_recipe(size: TrainConfig) -> TrainConfig:
    """Return the paper's recipe with the networks, batch, steps of the critic and precision of `size`."""
    names = ("channels", "n_clusters", "latent_size", "batch_size", "critic_steps", "precision", "seed")
    return replace(load_config(Path("paper")).train, **{name: getattr(size, name) for name in names})


def measure_training_speed(
    size: TrainConfig,
    crops: UInt8Array,
    device: torch.device,
    iterations: int,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> list[Row]:
    """Let both loops train for a round in turn, so that other processes of the machine slow down both.

    The plain loop computes in float32 whatever the precision of the configuration. On CUDA, our loop lets the whole
    process multiply with TF32, so the plain loop gains from that too.

    Args:
        size: configuration whose size is trained; the recipe is the paper's.
        crops: (N, 32, 32, 7) uint8, real cells.
        device: device to train on.
        iterations: iterations of each loop in a round.
        track: wraps the rounds, to show progress.

    Returns:
        A row for each loop, with iterations_per_second, the median of the `rounds`; ratio, to that of the plain loop;
        and schedule_seconds, the time of `SCHEDULE` iterations, extrapolated from that speed.
    """
    # Imported here, so that the report, which needs the constants above, does not load PyTorch.
    import torch

    from training.gan.trainer import Trainer
    from training.study.baselines.eager_loop import EagerLoop

    config = at_paper_recipe(size)
    learned_from = seen(crops, config.crops)
    loops: dict[str, Loop] = {
        OURS: Trainer(config, learned_from, device),
        PLAIN: EagerLoop(config, learned_from, device),
    }
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
    """Return the seconds that some iterations take, up to the end of the last on the device."""
    start = perf_counter()
    for _ in range(iterations):
        loop.step()
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
    return perf_counter() - start


def compare(rounds: list[float], plain: list[float]) -> Row:
    """Return the figures of a loop from its rounds and the plain loop's, in iterations per second."""
    speed = median(rounds)
    return {
        "iterations_per_second": speed,
        "ratio": speed / median(plain),
        "schedule_seconds": SCHEDULE / speed,
        "rounds": rounds,
    }


def keep_rows(path: Path, rows: list[Row]) -> None:
    """Add rows to a JSON file; each replaces the one of the same `SETTING`, if there is one."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    new = {_setting(row) for row in rows}
    lines = [json.dumps(row, allow_nan=False) for row in [*(row for row in kept if _setting(row) not in new), *rows]]
    write_text(path, "[\n" + ",\n".join(lines) + "\n]\n")


def _setting(row: Row) -> tuple[Any, ...]:
    return tuple(row[field] for field in SETTING)
