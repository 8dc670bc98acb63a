"""`python -m training evaluate`: a command for each evaluation and, under `figure`, for each of the paper's figures.

Each command imports what it needs when it runs, so that `--help` and a wrong argument are answered at once, and a
command that trains nothing does not load PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable

import typer

from training.study.commands import bundle, classification, clusters, figures, gan, nuclei, tiles

COMMANDS: tuple[Callable[..., None], ...] = (
    clusters.clustering,
    clusters.n_clusters,
    clusters.ablation,
    clusters.agreement,
    clusters.stability,
    classification.classification,
    classification.few_labels,
    classification.teach,
    classification.site,
    tiles.tile_cells,
    tiles.image_label,
    tiles.bundle_label,
    gan.purity,
    bundle.intervals,
    bundle.outliers,
    bundle.novelty,
    bundle.adaptation,
    bundle.abstention,
    nuclei.detection,
    nuclei.errors,
    nuclei.segmentation,
    nuclei.missed,
    nuclei.sizes,
    tiles.quality,
    tiles.tissue,
    bundle.prototypes,
    gan.training_speed,
)
"""The commands in the order of `--help`; each has the name of its function, with - for _."""

evaluate = typer.Typer(no_args_is_help=True, help="Measure the method and its rivals on the public data sets.")
for command in COMMANDS:
    evaluate.command()(command)
evaluate.add_typer(figures.cli, name="figure")
