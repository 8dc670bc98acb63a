"""Section on the speed of training."""

from __future__ import annotations

from typing import Any

from training.study.protocols.training_speed import ROUNDS, SCHEDULE
from training.study.report.spread import Record

TRAINING_SPEED = f"""## Speed of training

Command: `python -m training evaluate training-speed runs/cells docs/results --config CONFIG`, where runs/cells is what
`cells` made of the tiles of `bm_graz`, and CONFIG is `paper` for the paper's size or another for its own

Iterations per second of our training loop and of a plain one, the paper's algorithm as one would write it down
(training/baselines/eager_loop.py): the same networks, losses, draws and recipe, the paper's, in turns in one process.
The figure is the median of {ROUNDS} rounds, with the slowest and the fastest beside it; the ratio is to the plain loop.
The seconds are not measured but extrapolated from it, without checkpoints and checks: {SCHEDULE:,} iterations are the
paper's ten epochs of 9,000 cells in four rotations, where an iteration takes five batches of 64.

"""
TITLES = {
    "name": "loop",
    "channels": "channels",
    "batch": "batch",
    "critic_steps": "critic steps",
    "precision": "precision",
    "iterations_per_second": "iterations/s",
    "ratio": "ratio",
    "schedule_seconds": f"s for {SCHEDULE:,} iterations (extrapolated)",
    "device": "device",
    "threads": "CPU threads",
    "date": "date",
}


def training_speed(rows: list[Record]) -> str:
    """Of what `measure_training_speed` gave."""
    lines = ["| " + " | ".join(TITLES.values()) + " |", "|---" * len(TITLES) + "|"]
    lines += ["| " + " | ".join(_written(name, row) for name in TITLES) + " |" for row in rows]
    return TRAINING_SPEED + "\n".join(lines) + "\n\n"


def _written(name: str, row: Record) -> str:
    value: Any = row[name]
    if name == "iterations_per_second":
        return f"{value:.3g} ({min(row['rounds']):.3g}–{max(row['rounds']):.3g})"
    if name == "schedule_seconds":
        return f"{value:,.0f}"
    return f"{value:.2f}" if name == "ratio" else str(value)
