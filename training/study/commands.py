"""`python -m training evaluate`: one command for each thing that is measured."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from PIL import Image

from app.pipeline.presets import DEFAULT
from training.cells.extract import Cells
from training.config import load_config
from training.console import bar, keep_scores
from training.study import cells_commands as evaluate_cells_commands
from training.study import trust_commands as honesty_commands
from training.study.figure_commands import figure
from training.study.protocols.quality import evaluate_quality
from training.study.protocols.segmentation import draw_detection_errors, evaluate_detection, evaluate_segmentation
from training.study.protocols.training_speed import ROUNDS, keep_rows, measure_training_speed
from training.study.systems.segmentation_systems import by_preset, segmentation_systems

evaluate = typer.Typer(no_args_is_help=True, help="Score what was made against the public data sets.")
evaluate.add_typer(figure, name="figure")
for commands in (evaluate_cells_commands.COMMANDS, honesty_commands.COMMANDS):
    for name, command in commands.items():
        evaluate.command(name)(command)


@evaluate.command()
def detection(
    bm_graz: Annotated[Path, typer.Argument(metavar="DATA", help="the data set bm_graz: tiles/ and cells.csv")],
    out: Annotated[Path, typer.Argument(help="directory to write detection.json into")],
) -> None:
    """Score detection against the dots of `bm_graz`, on the tuning and the test tiles."""
    keep_scores(out / "detection.json", evaluate_detection(bm_graz, segmentation_systems(), bar("tiles")))


@evaluate.command()
def errors(
    bm_graz: Annotated[Path, typer.Argument(metavar="DATA", help="the data set bm_graz: tiles/ and cells.csv")],
    out: Annotated[Path, typer.Argument(help="picture to write")] = Path("docs/detection-errors.jpg"),
) -> None:
    """Draw what preset `default` gets wrong on the test tiles of `bm_graz`."""
    picture = draw_detection_errors(bm_graz, partial(by_preset, DEFAULT), bar("tiles"))
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(out, quality=88)
    typer.echo(str(out))


@evaluate.command()
def segmentation(
    datasets: Annotated[Path, typer.Argument(metavar="DATA", help="directory that holds monuseg/, consep/ or both")],
    out: Annotated[Path, typer.Argument(help="directory to write segmentation.json into")],
) -> None:
    """Score the masks against those of `monuseg` and `consep`; `default` is tuned on those of `monuseg`."""
    keep_scores(out / "segmentation.json", evaluate_segmentation(datasets, segmentation_systems(), bar("tiles")))


@evaluate.command()
def quality(
    bm_graz: Annotated[Path, typer.Argument(metavar="DATA", help="the data set bm_graz: tiles/")],
    out: Annotated[Path, typer.Argument(help="directory to write quality.json into")],
) -> None:
    """Count which quality flags are raised on good and on degraded tiles of `bm_graz`; takes minutes."""
    keep_scores(out / "quality.json", evaluate_quality(bm_graz, DEFAULT, bar("tiles")))


@evaluate.command("training-speed")
def training_speed(
    cells: Annotated[Path, typer.Argument(metavar="CELLS", help="directory that `cells` wrote")],
    out: Annotated[Path, typer.Argument(help="directory of the results: rows of other sizes and machines are kept")],
    config: Annotated[Path, typer.Option(help="whose size is trained; the recipe is the paper's")] = Path("paper-cpu"),
    iterations: Annotated[int, typer.Option(min=1, help=f"of each loop in each of {ROUNDS} rounds")] = 5,
) -> None:
    """Time our loop and the plain one in turns, on CUDA or else on the CPU; the paper's size is `paper`."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    crops = Cells.load(cells).crops
    rows = measure_training_speed(load_config(config).train, crops, device, iterations, bar("rounds"))
    keep_rows(out / "training_speed.json", rows)
    typer.echo(json.dumps(rows, indent=2))
