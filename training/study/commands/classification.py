"""Evaluations of features of cells: how well types are learned from them, and how well the tile can be told."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.study.commands.options import Again, Cells, Out, Seeds, chosen, load_sets
from training.study.records import Record, Records
from training.study.systems.cell_systems import CEILINGS, DESCRIBERS, OURS

if TYPE_CHECKING:
    from training.study.protocols.classification import Predicted
    from training.study.typed_cells import TypedCells

Describers = Annotated[
    list[str] | None, typer.Option("--system", help=f"one of {', '.join(DESCRIBERS)}; repeat for more")
]
WithCeilings = Annotated[
    list[str] | None, typer.Option("--system", help=f"one of {', '.join(DESCRIBERS | CEILINGS)}; repeat for more")
]
Splits = Annotated[int, typer.Option(min=2, help="number of splits by tile, the same for every system")]
SplitSeeds = Annotated[int, typer.Option(min=1, help="number of seeds of the system for each split: 0, 1, …")]


def classification(
    cells: Cells,
    out: Out,
    system: WithCeilings = None,
    splits: Splits = 10,
    seeds: SplitSeeds = 1,
    again: Again = False,
) -> None:
    """Score features with a linear SVM that learns the types (Table I), and draw Fig. 7."""
    from training.study.protocols.classification import ClassificationTask, evaluate_classification

    task = ClassificationTask(chosen(system, DESCRIBERS | CEILINGS), range(splits), range(seeds), again)
    sets, records = load_sets(cells), Records(out / "classification.json")
    evaluate_classification(sets, task, records, typer.echo, partial(_draw_predicted, out, sets))


def few_labels(
    cells: Cells, out: Out, system: Describers = None, splits: Splits = 10, seeds: SplitSeeds = 1, again: Again = False
) -> None:
    """Score features when only 5 to 500 cells of each type are named, on the splits of `classification`."""
    from training.study.protocols.classification import ClassificationTask
    from training.study.protocols.few_labels import evaluate_few_labels

    task = ClassificationTask(chosen(system, DESCRIBERS), range(splits), range(seeds), again)
    evaluate_few_labels(load_sets(cells), task, Records(out / "few_labels.json"), typer.echo)


def teach(
    cells: Cells, out: Out, system: Describers = None, splits: Splits = 5, seeds: SplitSeeds = 1, again: Again = False
) -> None:
    """Count the actions that a simulated reviewer needs to teach cell types, on the splits of `classification`."""
    from training.study.protocols.classification import ClassificationTask
    from training.study.protocols.teach import evaluate_teach

    task = ClassificationTask(chosen(system, DESCRIBERS), range(splits), range(seeds), again)
    evaluate_teach(load_sets(cells), task, Records(out / "teach.json"), typer.echo)


def site(cells: Cells, out: Out, system: Describers = None, seeds: Seeds = 3, again: Again = False) -> None:
    """Score how well the tile that a cell comes from can be told from its features, beside its type."""
    from training.study.protocols.site import SiteTask, evaluate_site

    task = SiteTask(chosen(system, DESCRIBERS), range(seeds), again)
    evaluate_site(load_sets(cells), task, Records(out / "site.json"), typer.echo)


def _draw_predicted(out: Path, sets: dict[str, TypedCells], record: Record, predicted: Predicted) -> None:
    """Draw Fig. 7 for the first split and seed of our method."""
    if (record["system"], record["split"], record["seed"]) != (OURS, 0, 0):
        return
    from training.study.figures.canvas import keep_figure
    from training.study.figures.cells import draw_right_and_wrong

    drawn = draw_right_and_wrong(sets[record["set"]], predicted.cells, predicted.types, seed=0)
    about = {"set": record["set"], "seed": 0, "f1": record["f1"], "date": record["date"]}
    keep_figure(drawn, out, f"classification-{record['set']}", about)
