"""`python -m training evaluate figure`: one command for each of the paper's figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure

from app.pipeline.bundle.load import Bundle, load_bundle
from app.pipeline.networks.encode import encode
from training.cells.tile_files import analyse_file, tile_paths
from training.config import read_config
from training.console import bar
from training.study.figures.canvas import keep_figure
from training.study.figures.curves import draw_curves
from training.study.figures.noise import draw_noise
from training.study.figures.proportions import draw_proportions
from training.study.figures.samples import draw_clusters
from training.study.labelled_tiles import LabelledTiles
from training.study.protocols.image_label import mean_by_tile

figure = typer.Typer(no_args_is_help=True, help="Draw the paper's figures, for the report.")
Run = Annotated[Path, typer.Argument(help="directory of a run")]
Tiles = Annotated[Path, typer.Argument(metavar="DATA", help="the data set bm_graz: tiles/")]
Results = Annotated[Path, typer.Argument(help="directory of the results; pictures go into figures/ beside it")]
Model = Annotated[Path, typer.Option(help="bundle that sees the tiles")]
RESULTS, MODEL = Path("docs/results"), Path("models/marrow")


@figure.command()
def noise(run: Run, results: Results = RESULTS) -> None:
    """Draw how noise becomes cells while a run learns, Fig. 5."""
    _keep(draw_noise(run), results, "noise", _about_run(run))


@figure.command()
def curves(run: Run, results: Results = RESULTS) -> None:
    """Draw the losses and the purity of a run of `evaluate purity`, Fig. 9."""
    _keep(draw_curves(run), results, "curves", _about_run(run))


@figure.command()
def clusters(data: Tiles, results: Results = RESULTS, bundle: Model = MODEL) -> None:
    """Draw sixty cells of each cluster of the bundle, Fig. 8."""
    model = load_bundle(bundle)
    found = [analyse_file(path, model) for path in bar("tiles")(tile_paths(data / "tiles"))]
    crops = np.concatenate([stages.crops for _, stages in found])
    clusters = np.concatenate([analysis.proportions.clusters for analysis, _ in found])
    drawn = draw_clusters(crops, clusters, model.manifest.n_clusters, seed=0)
    _keep(drawn, results, "clusters", {**_about_bundle(model), "set": data.name, "cells": len(crops)})


@figure.command()
def proportions(
    cells: Annotated[Path, typer.Argument(metavar="CELLS", help="what `tile-cells` wrote; named as its set")],
    data: Tiles,
    results: Results = RESULTS,
    bundle: Model = MODEL,
) -> None:
    """Draw proportions of tiles on their principal components, Fig. 10."""
    model = load_bundle(bundle)
    tiles = LabelledTiles.load(cells)
    encoded = encode(tiles.unlabelled.crops, model.backend, model.manifest.n_clusters, "fast")
    # Of the lymph nodes all cells count: few of them are like those of marrow.
    hard = np.eye(model.manifest.n_clusters)[encoded.cluster_probs.argmax(axis=1)]
    labelled = mean_by_tile(hard, tiles.unlabelled, len(tiles.tiles))
    marrow = [analyse_file(path, model)[0].proportions.values for path in bar("tiles")(tile_paths(data / "tiles"))]
    groups = {
        "follicular lymphoma": labelled[tiles.positive == 1],
        "reactive lymph node": labelled[tiles.positive == 0],
        "healthy marrow": np.array([values for values in marrow if values is not None]),
    }
    about = {**_about_bundle(model), "sets": [cells.name, data.name]}
    _keep(draw_proportions(groups), results, "proportions", about)


def _keep(drawn: Figure, results: Path, name: str, about: dict[str, Any]) -> None:
    typer.echo(str(keep_figure(drawn, results, name, about)))


def _about_run(run: Path) -> dict[str, Any]:
    config = read_config(run)
    return {
        "set": config.data.name,
        "channels": config.train.channels,
        "n_clusters": config.train.n_clusters,
        "anchor_steps": config.train.anchor_steps,
        "seed": config.train.seed,
    }


def _about_bundle(model: Bundle) -> dict[str, Any]:
    return {"bundle": f"{model.manifest.name} {model.manifest.version}"}
