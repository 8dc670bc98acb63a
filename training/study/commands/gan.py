"""Evaluations of how the GAN is trained: what it learns, and how fast."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.config import load_config, write_config
from training.console import bar
from training.study.commands.options import Config, ExtractedCells

if TYPE_CHECKING:
    import torch


def purity(
    cells: Annotated[Path, typer.Argument(metavar="CELLS", help="directory that `labelled` wrote")],
    run: Annotated[Path, typer.Argument(help="directory of the run; an unfinished run is resumed")],
    config: Config = Path("cpu"),
    every: Annotated[int, typer.Option(min=1, help="iterations between two scores")] = 250,
) -> None:
    """Train the GAN on typed cells and score its clusters as it learns, for `figure curves`."""
    settings = load_config(config)
    from training.study.protocols.clustering import purity_while_training
    from training.study.typed_cells import TypedCells

    typed = TypedCells.load(cells)
    write_config(replace(settings, data=replace(settings.data, name=cells.name)), run)
    purity_while_training(typed, settings.train, run, every, _device(), bar("pauses"))


def training_speed(
    cells: ExtractedCells,
    out: Annotated[
        Path, typer.Argument(help="directory of the results; rows of other sizes and machines are kept there")
    ],
    config: Annotated[Path, typer.Option(help="configuration whose size is trained; the recipe is the paper's")] = Path(
        "paper-cpu"
    ),
    iterations: Annotated[int, typer.Option(min=1, help="iterations of each loop in each round")] = 5,
) -> None:
    """Time our training loop and a plain one in turn, on CUDA or else on the CPU; `paper` has the paper's size."""
    settings = load_config(config)
    from training.cells.extract import Cells
    from training.study.protocols.training_speed import keep_rows, measure_training_speed

    rows = measure_training_speed(settings.train, Cells.load(cells).crops, _device(), iterations, bar("rounds"))
    keep_rows(out / "training_speed.json", rows)
    typer.echo(json.dumps(rows, indent=2))


def _device() -> torch.device:
    """Return where to train: on CUDA if there is a GPU, else on the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
