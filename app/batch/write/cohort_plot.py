"""The plot of a cohort: its slides among the reference tiles of the bundle."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from app.answer.palette import OUTLIER, cluster_color, hex_color
from app.batch.summary import SlideSummary
from app.pipeline.manifest import Reference

SIZE_IN, DPI = (9.0, 5.5), 120
MAX_NAMED = 30
"""The largest number of slides whose ids are written beside them; more would overlap."""
MAX_ID = 40
"""The largest number of characters of an id that are written; a longer one would leave no room for the plot."""
LABELS = {
    "normal": hex_color(cluster_color(5)),
    "abnormal": hex_color(cluster_color(4)),
    "indeterminate": hex_color(OUTLIER),
}
"""The colour of each label: blue and vermillion, which the colour-blind can tell apart, and grey."""
MARKS = {"normal": "o", "abnormal": "^", "indeterminate": "s"}
GROUP_MARKS = (".", "x", "+", "1")
PALE = "#c9c2d3"


class _Place(NamedTuple):
    """The place of a slide on the principal components."""

    slide: str
    label: str
    x: float
    y: float


def cohort_plot(summaries: Sequence[SlideSummary], reference: Reference) -> bytes:
    """Draw slides and reference tiles on the first two principal components of the reference tiles' proportions.

    Args:
        summaries: the slides; one without a counted cell has no proportions and is left out.
        reference: the reference tiles of the bundle.

    Returns:
        A PNG.
    """
    figure = Figure(figsize=SIZE_IN, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw_reference(axes, reference)
    placed = [(summary, summary.label.reference) for summary in summaries]
    places = [_Place(summary.slide, summary.label.value, *where.position) for summary, where in placed if where]
    for label, color in LABELS.items():
        _draw_slides(axes, [place for place in places if place.label == label], label, color)
    if len(places) <= MAX_NAMED:
        for place in places:
            short = place.slide if len(place.slide) <= MAX_ID else f"{place.slide[: MAX_ID - 1]}…"
            # A dollar sign would begin a formula.
            text = short.replace("$", r"\$")
            axes.annotate(text, (place.x, place.y), xytext=(5, 4), textcoords="offset points", fontsize=7, zorder=3)
    for axis, number, share in zip((axes.xaxis, axes.yaxis), (1, 2), reference.explained, strict=True):
        axis.set_label_text(f"principal component {number} ({share:.0%} of variance)")
    # With equal axes, distances in the plot are distances between proportions.
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    buffer = io.BytesIO()
    # Otherwise the version of the library would be in the file.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_reference(axes: Axes, reference: Reference) -> None:
    mean, components = np.array(reference.mean), np.array(reference.axes)
    for i, group in enumerate(reference.groups):
        x, y = ((np.array(group.proportions) - mean) @ components.T).T
        is_clear = not group.is_simulated or "simulated" in group.name.casefold()
        name = f"{group.name}{'' if is_clear else ', simulated'} ({len(x)})"
        axes.scatter(x, y, s=22, marker=GROUP_MARKS[i % len(GROUP_MARKS)], color=PALE, label=name, zorder=1)


def _draw_slides(axes: Axes, places: Sequence[_Place], label: str, color: str) -> None:
    if places:
        axes.scatter(
            [place.x for place in places],
            [place.y for place in places],
            s=64,
            marker=MARKS[label],
            color=color,
            edgecolor="white",
            linewidth=0.8,
            label=f"{label} ({len(places)})",
            zorder=2,
        )
