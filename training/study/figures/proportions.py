"""Figure of tiles: their proportions on the plane of the first two principal components (Fig. 10)."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from app.pipeline.types import Float64Array
from training.study.figures.canvas import COLOURS, DPI

MARKERS = ("o", "^", "s", "D", "v", "P", "X")


def draw_proportions(groups: dict[str, Float64Array]) -> Figure:
    """Draw the tiles of each group, and arrows in the directions in which each cluster's proportion grows.

    Args:
        groups: (T, K) float64, proportions by the name of the group; at most as many groups as `MARKERS`.
    """
    pca = PCA(n_components=2).fit(np.concatenate(list(groups.values())))
    figure = Figure(figsize=(5.0, 3.4), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for (name, proportions), colour, marker in zip(groups.items(), COLOURS, MARKERS, strict=False):
        x, y = pca.transform(proportions).T
        axes.scatter(x, y, s=14, c=colour, marker=marker, alpha=0.7, linewidths=0, label=f"{name} ({len(x)})")
    reach = np.abs(np.concatenate([axes.get_xlim(), axes.get_ylim()])).min() * 0.8
    for cluster, direction in enumerate(pca.components_.T * reach / np.abs(pca.components_).max()):
        axes.annotate("", direction, (0, 0), arrowprops={"arrowstyle": "->", "color": "0.35", "linewidth": 0.8})
        axes.annotate(f"P{cluster}", direction * 1.08, color="0.25", ha="center", va="center")
    shares = pca.explained_variance_ratio_
    axes.set(xlabel=f"first component ({shares[0]:.0%} of variance)", ylabel=f"second component ({shares[1]:.0%})")
    axes.legend(frameon=False, fontsize=7)
    return figure
