"""The paper's figures that are drawn from a run, or from what a bundle finds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from training.config import read_config
from training.console import bar
from training.study.commands.bundle import about_bundle
from training.study.commands.options import MODEL, Graz, Model, TileCells

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULTS = Path("docs/results")

Run = Annotated[Path, typer.Argument(help="directory of a run")]
Results = Annotated[Path, typer.Argument(help="directory of the results; pictures are written to figures/ beside it")]

cli = typer.Typer(no_args_is_help=True, help="Draw the paper's figures, for the report.")


@cli.command()
def noise(run: Run, results: Results = RESULTS) -> None:
    """Draw how noise becomes cells while a run learns (Fig. 5)."""
    from training.study.figures.learning import draw_noise

    _keep_figure(draw_noise(run), results, "noise", _about_run(run))


@cli.command()
def curves(run: Run, results: Results = RESULTS) -> None:
    """Draw the losses and the purity of a run of `evaluate purity` (Fig. 9)."""
    from training.study.figures.learning import draw_curves

    _keep_figure(draw_curves(run), results, "curves", _about_run(run))


@cli.command()
def clusters(data: Graz, results: Results = RESULTS, bundle: Model = MODEL) -> None:
    """Draw sixty cells of each cluster of the bundle (Fig. 8)."""
    import numpy as np

    from app.pipeline.bundle.load import load_bundle
    from training.cells.tile_files import analyse_file, tile_paths
    from training.study.figures.cells import draw_clusters

    model = load_bundle(bundle)
    analysed = [analyse_file(path, model) for path in bar("tiles")(tile_paths(data / "tiles"))]
    crops = np.concatenate([stages.crops for _, stages in analysed])
    clusters = np.concatenate([analysis.proportions.clusters for analysis, _ in analysed])
    drawn = draw_clusters(crops, clusters, model.manifest.n_clusters, seed=0)
    _keep_figure(drawn, results, "clusters", {**about_bundle(model), "set": data.name, "cells": len(crops)})


@cli.command()
def proportions(cells: TileCells, data: Graz, results: Results = RESULTS, bundle: Model = MODEL) -> None:
    """Draw the proportions of tiles on their principal components (Fig. 10)."""
    import numpy as np

    from app.pipeline.bundle.load import load_bundle
    from app.pipeline.crops import seen
    from app.pipeline.networks.encode import encode
    from training.cells.tile_files import analyse_file, tile_paths
    from training.study.figures.proportions import draw_proportions
    from training.study.labelled_tiles import LabelledTiles
    from training.study.protocols.image_label import mean_by_tile

    model = load_bundle(bundle)
    tiles = LabelledTiles.load(cells)
    crops = seen(tiles.unlabelled.crops, model.manifest.architecture.crops)
    encoded = encode(crops, model.backend, model.manifest.n_clusters, "fast")
    # All cells of the lymph nodes count, because most of them would be outliers to a bundle of marrow.
    hard = np.eye(model.manifest.n_clusters)[encoded.cluster_probs.argmax(axis=1)]
    labelled = mean_by_tile(hard, tiles.unlabelled, len(tiles.tiles))
    marrow = [analyse_file(path, model)[0].proportions.values for path in bar("tiles")(tile_paths(data / "tiles"))]
    groups = {
        "follicular lymphoma": labelled[tiles.positive == 1],
        "reactive lymph node": labelled[tiles.positive == 0],
        "healthy marrow": np.array([values for values in marrow if values is not None]),
    }
    about = {**about_bundle(model), "sets": [cells.name, data.name]}
    _keep_figure(draw_proportions(groups), results, "proportions", about)


def _keep_figure(drawn: Figure, results: Path, name: str, about: dict[str, Any]) -> None:
    from training.study.figures.canvas import keep_figure

    typer.echo(str(keep_figure(drawn, results, name, about)))


def _about_run(run: Path) -> dict[str, Any]:
    config = read_config(run)
    encoder = config.train.encoder
    return {
        "set": config.data.name,
        "channels": config.train.channels,
        **({"encoder_width": encoder.width} if encoder else {}),
        "n_clusters": config.train.n_clusters,
        "seed": config.train.seed,
    }
