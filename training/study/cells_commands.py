"""The commands of `evaluate` for the paper's tables I to IV and for the purity of its Fig. 9."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer

from training.config import load_config, write_config
from training.console import bar
from training.study.figures.canvas import keep_figure
from training.study.figures.samples import draw_right_and_wrong
from training.study.labelled_tiles import TILE_CELLS, LabelledTiles, cut_labelled_tiles
from training.study.protocols.agreement import evaluate_agreement, load_crops
from training.study.protocols.classification import ClassificationTask, Predicted, evaluate_classification
from training.study.protocols.clustering import ClusteringTask, evaluate_clustering
from training.study.protocols.image_label import (
    ImageLabelTask,
    describe_whole_tiles,
    evaluate_image_label,
    evaluate_whole_tiles,
)
from training.study.protocols.purity import purity_while_training
from training.study.records import Record, Records
from training.study.systems.cell_systems import (
    BY_KMEANS,
    CLUSTERERS,
    DESCRIBERS,
    N_CLUSTERS,
    VARIANTS,
    Entry,
    check_known,
    clusterer,
)
from training.study.systems.clusterer import ClustererFactory
from training.study.typed_cells import TypedCells

OURS = "ours"
Cells = Annotated[list[Path], typer.Argument(metavar="CELLS…", help="what `labelled` wrote; each named as its set")]
Out = Annotated[Path, typer.Argument(help="directory of the results: what is recorded there already is kept")]
Seeds = Annotated[int, typer.Option(min=1, help="how many: 0, 1, …")]
Again = Annotated[bool, typer.Option("--again", help="measure anew what is recorded already")]
Clusterers = Annotated[
    list[str] | None, typer.Option("--system", help=f"one of {', '.join(CLUSTERERS)}; repeat for more")
]
Describers = Annotated[
    list[str] | None, typer.Option("--system", help=f"one of {', '.join(DESCRIBERS)}; repeat for more")
]


def clustering(
    cells: Cells,
    out: Out,
    system: Clusterers = None,
    seeds: Seeds = 3,
    clusters: int = N_CLUSTERS,
    again: Again = False,
) -> None:
    """Score clusters against types, Table III: every system learns without types. Hours; can be interrupted."""
    task = ClusteringTask(_chosen(system, tuple(CLUSTERERS)), range(seeds), (clusters,), again)
    evaluate_clustering(_load(cells), task, Records(out / "clustering.json"), typer.echo)


def n_clusters(cells: Cells, out: Out, system: Clusterers = None, seeds: Seeds = 3, again: Again = False) -> None:
    """Do the same for 4, 5 and 6 clusters, Table II; what `clustering` recorded counts."""
    task = ClusteringTask(_chosen(system, (*BY_KMEANS, OURS)), range(seeds), (4, 5, 6), again)
    evaluate_clustering(_load(cells), task, Records(out / "clustering.json"), typer.echo)


def ablation(cells: Cells, out: Out, seeds: Seeds = 3, again: Again = False) -> None:
    """Score variants of ours, each with a part left out or changed, as `clustering` does, whose fits of ours count."""
    variants: dict[str, ClustererFactory] = VARIANTS.load()()
    task = ClusteringTask(tuple(variants), range(seeds), (N_CLUSTERS,), again)
    sets, records = _load(cells), Records(out / "ablation.json")
    for record in Records(out / "clustering.json").read():
        if (record["system"], record["n_clusters"]) == (OURS, N_CLUSTERS) and record["set"] in sets:
            records.keep(record)
    evaluate_clustering(sets, task, records, typer.echo, variants.__getitem__)


def agreement(
    cells: Annotated[list[Path], typer.Argument(metavar="CELLS…", help="what `cells` or `labelled` wrote")],
    out: Out,
    system: Annotated[str, typer.Option(help=f"one of {', '.join(CLUSTERERS)}")] = OURS,
    seeds: Annotated[int, typer.Option(min=2, help="how many: 0, 1, …")] = 3,
) -> None:
    """Compare the clusters that a system finds by one seed with those by another."""
    sets = {directory.name: load_crops(directory) for directory in cells}
    named = (system, clusterer(system))
    evaluate_agreement(sets, named, N_CLUSTERS, range(seeds), Records(out / "agreement.json"), typer.echo)


def classification(cells: Cells, out: Out, system: Describers = None, seeds: Seeds = 3, again: Again = False) -> None:
    """Score features under a linear SVM that is given the types, Table I; draws Fig. 7."""
    sets = _load(cells)
    task = ClassificationTask(_chosen(system, tuple(DESCRIBERS), DESCRIBERS), range(seeds), again)
    records = Records(out / "classification.json")
    evaluate_classification(sets, task, records, typer.echo, partial(_draw_predicted, out, sets))


def tile_cells(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="the data set fl_reactive: tiles/ and labels.csv")],
    out: Annotated[Path, typer.Argument(help=f"directory to write {TILE_CELLS} into")],
) -> None:
    """Cut the cells of labelled tiles, for `image-label`; takes minutes."""
    tiles = cut_labelled_tiles(data, bar("tiles"))
    tiles.save(out)
    typer.echo(f"{len(tiles.unlabelled)} cells of {len(tiles.tiles)} tiles in {out / TILE_CELLS}")


def image_label(
    cells: Annotated[Path, typer.Argument(metavar="CELLS", help="what `tile-cells` wrote; named as its set")],
    out: Out,
    system: Clusterers = None,
    seeds: Seeds = 3,
    clusters: Annotated[list[int] | None, typer.Option(help="K; repeat for more")] = None,
    max_cells: Annotated[int, typer.Option(min=1, help="cells that a system learns from, at most")] = 20_000,
    tiles: Annotated[
        Path | None, typer.Option(help="the data set fl_reactive, to score an ImageNet CNN on whole tiles as well")
    ] = None,
    again: Again = False,
) -> None:
    """Label tiles by proportions of clusters learned without labels, Table IV; of ours, unless others are named."""
    labelled, records = LabelledTiles.load(cells), Records(out / "image_label.json")
    if tiles is not None:
        features = describe_whole_tiles(tiles, labelled.tiles, bar("tiles"))
        evaluate_whole_tiles(cells.name, features, labelled, records)
    task = ImageLabelTask(_chosen(system, (OURS,)), range(seeds), tuple(clusters or [N_CLUSTERS]), max_cells, again)
    evaluate_image_label(cells.name, labelled, task, records, typer.echo)


def purity(
    cells: Annotated[Path, typer.Argument(metavar="CELLS", help="what `labelled` wrote")],
    run: Annotated[Path, typer.Argument(help="directory of the run; an unfinished run is resumed")],
    config: Annotated[Path, typer.Option(help="a shipped configuration, or a TOML file")] = Path("cpu"),
    every: Annotated[int, typer.Option(min=1, help="iterations between two scores")] = 250,
) -> None:
    """Train the GAN on typed cells and score its clusters as it learns, for `figure curves`."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    settings = load_config(config)
    typed = TypedCells.load(cells)
    write_config(replace(settings, data=replace(settings.data, name=cells.name)), run)
    purity_while_training(typed, settings.train, run, every, device, bar("pauses"))


COMMANDS: dict[str, Callable[..., None]] = {
    "clustering": clustering,
    "n-clusters": n_clusters,
    "ablation": ablation,
    "agreement": agreement,
    "classification": classification,
    "tile-cells": tile_cells,
    "image-label": image_label,
    "purity": purity,
}


def _chosen(given: list[str] | None, default: tuple[str, ...], known: dict[str, Entry] = CLUSTERERS) -> tuple[str, ...]:
    """The systems to run; a name that is not known is an error before anything is run."""
    chosen = tuple(given or default)
    for name in chosen:
        check_known(known, name)
    return chosen


def _load(directories: list[Path]) -> dict[str, TypedCells]:
    return {directory.name: TypedCells.load(directory) for directory in directories}


def _draw_predicted(out: Path, sets: dict[str, TypedCells], record: Record, predicted: Predicted) -> None:
    """Fig. 7, of the first seed of ours."""
    if (record["system"], record["seed"]) == (OURS, 0):
        figure = draw_right_and_wrong(sets[record["set"]], predicted.cells, predicted.types, seed=0)
        about = {"set": record["set"], "seed": 0, "f1": record["f1"], "date": record["date"]}
        keep_figure(figure, out, f"classification-{record['set']}", about)
