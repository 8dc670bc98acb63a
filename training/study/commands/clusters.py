"""Evaluations of clusters that are learned without types: against the types, and between seeds."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.config import load_config
from training.study.commands.options import Again, Cells, Clusterers, Config, Out, Seeds, chosen, load_sets
from training.study.records import Records
from training.study.systems.cell_systems import BY_KMEANS, CLUSTERERS, N_CLUSTERS, OURS, VARIANTS, clusterer

if TYPE_CHECKING:
    from training.study.interfaces import ClustererFactory

AnyCells = Annotated[list[Path], typer.Argument(metavar="CELLS…", help="directories that `cells` or `labelled` wrote")]
SeedsToCompare = Annotated[int, typer.Option(min=2, help="number of seeds: 0, 1, …")]


def clustering(
    cells: Cells,
    out: Out,
    system: Clusterers = None,
    seeds: Seeds = 3,
    clusters: int = N_CLUSTERS,
    again: Again = False,
) -> None:
    """Score clusters against types (Table III); takes hours, and can be interrupted."""
    from training.study.protocols.clustering import ClusteringTask, evaluate_clustering

    task = ClusteringTask(chosen(system, CLUSTERERS), range(seeds), (clusters,), again)
    evaluate_clustering(load_sets(cells), task, Records(out / "clustering.json"), typer.echo)


def n_clusters(cells: Cells, out: Out, system: Clusterers = None, seeds: Seeds = 3, again: Again = False) -> None:
    """Do the same for 4, 5 and 6 clusters (Table II); what `clustering` recorded is used."""
    from training.study.protocols.clustering import ClusteringTask, evaluate_clustering

    task = ClusteringTask(chosen(system, CLUSTERERS, (*BY_KMEANS, OURS)), range(seeds), (4, 5, 6), again)
    evaluate_clustering(load_sets(cells), task, Records(out / "clustering.json"), typer.echo)


def ablation(cells: Cells, out: Out, seeds: Seeds = 3, again: Again = False) -> None:
    """Score variants of our method, each with a part left out or changed; what `clustering` recorded of it is used."""
    from training.study.protocols.clustering import ClusteringTask, evaluate_clustering

    variants: dict[str, ClustererFactory] = VARIANTS.load()()
    task = ClusteringTask(tuple(variants), range(seeds), (N_CLUSTERS,), again)
    sets, records = load_sets(cells), Records(out / "ablation.json")
    for record in Records(out / "clustering.json").read():
        if (record["system"], record["n_clusters"]) == (OURS, N_CLUSTERS) and record["set"] in sets:
            records.keep(record)
    evaluate_clustering(sets, task, records, typer.echo, variants.__getitem__)


def agreement(
    cells: AnyCells,
    out: Out,
    system: Annotated[str, typer.Option(help=f"one of {', '.join(CLUSTERERS)}")] = OURS,
    seeds: SeedsToCompare = 3,
) -> None:
    """Compare the clusters that a system finds with different seeds."""
    from training.study.protocols.clustering import evaluate_agreement
    from training.study.typed_cells import load_unlabelled

    sets = {directory.name: load_unlabelled(directory) for directory in cells}
    named = (system, clusterer(system))
    evaluate_agreement(sets, named, N_CLUSTERS, range(seeds), Records(out / "agreement.json"), typer.echo)


def stability(
    cells: AnyCells,
    out: Out,
    config: Config = Path("cpu"),
    clusters: Annotated[list[int] | None, typer.Option(min=2, help="K; repeat for more  [default: 3 to 8]")] = None,
    seeds: SeedsToCompare = 3,
    again: Again = False,
) -> None:
    """Compare the clusters of different seeds for each number of clusters, to choose it by; needs no types."""
    load_config(config)
    from training.study.protocols.stability import StabilityTask, evaluate_stability
    from training.study.systems.marrowscope_system import MarrowscopeSystem
    from training.study.typed_cells import load_unlabelled

    sets = {directory.name: load_unlabelled(directory) for directory in cells}
    task = StabilityTask(config.stem, tuple(range(seeds)), tuple(clusters or range(3, 9)), again)
    create = partial(MarrowscopeSystem, config=str(config))
    evaluate_stability(sets, task, create, Records(out / "stability.json"), typer.echo)
