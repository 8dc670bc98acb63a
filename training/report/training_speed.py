"""Section on the speed of training."""

from __future__ import annotations

from typing import Any

from training.report.spread import NOT_MEASURED

TRAINING_SPEED = """## Speed of training

Iterations per second of the GAN's loop, each of all the steps that its configuration asks for.

"""


def training_speed(rows: list[dict[str, Any]]) -> str:
    """Of free rows: `name`, `iterations_per_second`, and what else was worth knowing, a column each."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(name.replace("_", " ") for name in names) + " |", "|---" * len(names) + "|"]
    lines += ["| " + " | ".join(_written(row.get(name)) for name in names) + " |" for row in rows]
    return TRAINING_SPEED + "\n".join(lines) + "\n\n"


def _written(value: Any) -> str:
    if value is None:
        return NOT_MEASURED
    return f"{value:.3g}" if isinstance(value, float) else str(value)
