"""Fig. 9: the critic's estimate, L_Q and the purity of clusters over generator iterations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.errors import DataError
from training.gan.tracking import MetricsLog
from training.study.figures.canvas import COLOURS, DPI
from training.study.protocols.purity import PURITY

SMOOTHED = 10
"""Logged iterations that a running mean is over."""


def draw_curves(run: Path) -> Figure:
    """(a) the losses that a run logged, (b) the purity that `purity_while_training` measured in it.

    Raises:
        DataError: it is not a run of `purity_while_training`.
    """
    for name in ("metrics.jsonl", PURITY):
        if not (run / name).is_file():
            raise DataError(f"{run / name} does not exist; make it with `python -m training evaluate purity`.")
    losses = [row for row in MetricsLog.read(run / "metrics.jsonl") if "wasserstein" in row]
    scores = MetricsLog.read(run / PURITY)
    figure = Figure(figsize=(6.4, 2.5), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2)
    _curve(left, losses, "wasserstein", COLOURS[0], "critic's estimate of V(D, G)")
    second = left.twinx()
    second.spines["right"].set_visible(True)
    _curve(second, losses, "loss_q", COLOURS[5], "L_Q, nats")
    left.set_title("(a) losses")
    iterations = [row["iteration"] for row in scores]
    for name, colour, marker in (("purity", COLOURS[0], "o"), ("nmi", COLOURS[5], "s")):
        title = {"purity": "purity", "nmi": "NMI"}[name]
        right.plot(iterations, [row[name] for row in scores], color=colour, marker=marker, markersize=3, label=title)
    right.set(xlabel="generator iterations", ylabel="score", ylim=(0, 1), title="(b) clusters of typed cells")
    right.legend(frameon=False)
    return figure


def _curve(axes: Axes, rows: list[dict[str, Any]], name: str, colour: str, title: str) -> None:
    """Every logged value faintly, and their running mean."""
    iterations, values = (np.array([row[key] for row in rows]) for key in ("iteration", name))
    axes.plot(iterations, values, color=colour, alpha=0.25, linewidth=0.6)
    width = min(SMOOTHED, len(values))
    smooth = np.convolve(values, np.full(width, 1 / width), mode="valid")
    axes.plot(iterations[width - 1 :], smooth, color=colour)
    axes.set_xlabel("generator iterations")
    axes.set_ylabel(title, color=colour)
    axes.tick_params(axis="y", colors=colour)
