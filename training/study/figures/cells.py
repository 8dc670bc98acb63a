"""Figures of cells: those whose type an SVM recognises or not (Fig. 7), and those of each cluster (Fig. 8)."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from app.pipeline.crops import pictures
from app.pipeline.types import Int64Array, UInt8Array
from training.study.figures.canvas import DPI, show_crops
from training.study.typed_cells import TypedCells

PER_TYPE = 8
PER_CLUSTER, CLUSTER_COLUMNS = 60, 10


def draw_right_and_wrong(cells: TypedCells, chosen: Int64Array, predicted: Int64Array, seed: int) -> Figure:
    """Draw random cells of each type: recognised ones on the left, and others, with their predicted type, on the right.

    Args:
        cells: typed cells.
        chosen: (M,) int64, indices of the cells of the test tiles.
        predicted: (M,) int64, their predicted types.
        seed: seed of the random choice.
    """
    random = np.random.default_rng(seed)
    names = cells.type_names
    figure = Figure(figsize=(8.6, 0.58 * len(names) + 0.4), dpi=DPI, layout="constrained")
    grid = figure.subplots(len(names), 2 * PER_TYPE + 1, gridspec_kw={"wspace": 0.02, "hspace": 0.02})
    for axes in grid.flat:
        axes.set_axis_off()
    for kind, row in enumerate(grid):
        of_type = cells.types[chosen] == kind
        for first, right in ((0, True), (PER_TYPE + 1, False)):
            members = np.flatnonzero(of_type & ((predicted == kind) == right))
            for axes, i in zip(
                row[first:], random.choice(members, min(PER_TYPE, len(members)), replace=False), strict=False
            ):
                axes.imshow(pictures(cells.unlabelled.crops[chosen[i]]), interpolation="nearest")
                if not right:
                    axes.set_title(names[predicted[i]], fontsize=5, pad=1)
        row[0].text(-0.15, 0.5, names[kind], transform=row[0].transAxes, ha="right", va="center")
    figure.suptitle("right" + 60 * " " + "wrong, with the type that they were taken for", fontsize=8)
    return figure


def draw_clusters(crops: UInt8Array, clusters: Int64Array, n_clusters: int, seed: int) -> Figure:
    """Draw sixty random cells of each cluster, or all if there are fewer.

    Args:
        crops: (N, 32, 32, C) uint8.
        clusters: (N,) int64 in 0 … K − 1.
        n_clusters: K.
        seed: seed of the random choice.
    """
    random = np.random.default_rng(seed)
    figure = Figure(figsize=(2.7 * min(n_clusters, 3), 1.85 * -(-n_clusters // 3)), dpi=DPI, layout="constrained")
    panels = figure.subplots(-(-n_clusters // 3), min(n_clusters, 3), squeeze=False).flat
    for axes in panels:
        axes.set_axis_off()
    for cluster, axes in enumerate(figure.axes[:n_clusters]):
        members = np.flatnonzero(clusters == cluster)
        drawn = random.choice(members, min(PER_CLUSTER, len(members)), replace=False)
        show_crops(axes, crops[np.sort(drawn)], CLUSTER_COLUMNS)
        axes.set_title(f"cluster {cluster}: {len(members)} cells ({len(members) / len(clusters):.0%})")
    return figure
