"""What the commands of several modules take: their arguments and options, and the sets and systems that these name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.study.systems.cell_systems import CLUSTERERS, LazySystem, check_known

if TYPE_CHECKING:
    from training.study.typed_cells import TypedCells

MODEL = Path("models/marrow")

Cells = Annotated[
    list[Path], typer.Argument(metavar="CELLS…", help="directories that `labelled` wrote, named after their sets")
]
ExtractedCells = Annotated[Path, typer.Argument(metavar="CELLS", help="directory that `cells` wrote")]
TileCells = Annotated[
    Path, typer.Argument(metavar="CELLS", help="directory that `tile-cells` wrote, named after its set")
]
Graz = Annotated[Path, typer.Argument(metavar="DATA", help="the data set bm_graz: tiles/")]
Out = Annotated[Path, typer.Argument(help="directory of the results; what is already recorded there is kept")]
OutDir = Annotated[Path, typer.Argument(help="directory of the results")]
OutWithPicture = Annotated[
    Path, typer.Argument(help="directory of the results; a picture is written to figures/ beside it")
]
Config = Annotated[Path, typer.Option(help="a shipped configuration, or a TOML file")]
Model = Annotated[Path, typer.Option(help="bundle that analyses the tiles")]
Seeds = Annotated[int, typer.Option(min=1, help="number of seeds: 0, 1, …")]
Again = Annotated[bool, typer.Option("--again", help="measure again what is already recorded")]
Clusterers = Annotated[
    list[str] | None, typer.Option("--system", help=f"one of {', '.join(CLUSTERERS)}; repeat for more")
]


def load_sets(directories: list[Path]) -> dict[str, TypedCells]:
    """Return the typed cells of each set, by its name."""
    from training.study.typed_cells import TypedCells

    return {directory.name: TypedCells.load(directory) for directory in directories}


def chosen(
    given: list[str] | None, known: dict[str, LazySystem], default: tuple[str, ...] | None = None
) -> tuple[str, ...]:
    """Return the systems to run, or all; an unknown name is an error before any system is run."""
    names = tuple(given or default or known)
    for name in names:
        check_known(known, name)
    return names
