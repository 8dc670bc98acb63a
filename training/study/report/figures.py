"""The section with the paper's figures."""

from __future__ import annotations

from typing import Any

CAPTIONS = {
    "noise": (
        "Noise becomes cells while the generator learns (Fig. 5)",
        "python -m training evaluate figure noise RUN",
        "Cells along a row have the same z; each column is a cluster.",
    ),
    "classification": (
        "Cells whose type is recognised, and cells whose type is not (Fig. 7)",
        "python -m training evaluate classification runs/crchisto runs/consep docs/results",
        "Random cells of the test tiles, by their type.",
    ),
    "clusters": (
        "Cells of each cluster (Fig. 8)",
        "python -m training evaluate figure clusters ../shared/data/bm_graz",
        "Sixty random cells of each cluster of the shipped bundle.",
    ),
    "curves": (
        "Losses, and purity of the clusters, while the GAN learns (Fig. 9)",
        "python -m training evaluate figure curves RUN",
        "`python -m training evaluate purity runs/crchisto RUN --config paper-cpu --every 20` made RUN with the "
        "paper's recipe, as far as a CPU gets. A Q on an encoder has its clusters before the GAN "
        "begins: purity then changes little, and only after the first quarter of the iterations. Faint lines are "
        "iterations, bold ones their running mean. The types are those of the set and serve the score alone.",
    ),
    "proportions": (
        "Proportions of tiles (Fig. 10)",
        "python -m training evaluate figure proportions runs/fl_reactive ../shared/data/bm_graz",
        "Each point is a tile, analysed by the bundle and placed on the principal components of all tiles; arrows show "
        "the direction in which the proportion of a cluster grows. The marrow comes from another organ and another "
        "laboratory than the lymph nodes.",
    ),
}
"""Title, command and explanation of each figure, by its name."""
HEAD = """## Figures

`python -m training evaluate figure --help` lists the commands; the stages of segmentation (Fig. 6) are drawn by
`marrowscope analyze --format stages`.
"""


def figures(drawn: dict[str, dict[str, Any]]) -> str:
    """Return the section on the figures of figures.json, with the facts that were kept about each."""
    text = HEAD
    for name, about in drawn.items():
        title, command, note = CAPTIONS[name.split("-")[0]]
        facts = ", ".join(f"{key.replace('_', ' ')}: {_written(value)}" for key, value in about.items())
        text += f"\n### {title}{_of_set(name)}\n\n![{title}](figures/{name}.png)\n\n{note} Command: `{command}`"
        text += f" ({facts}).\n" if facts else ".\n"
    return text + "\n"


def _of_set(name: str) -> str:
    """Return the set of a figure that is drawn for each set; its name holds the set after a dash."""
    return f", `{name.split('-', 1)[1]}`" if "-" in name else ""


def _written(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.3f}" if isinstance(value, float) else str(value)
