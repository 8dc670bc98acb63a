"""The commands `marrowscope classifier train` and `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.shell.options import MppOption, read_settings, report_errors

HELP = """Teach a bundle cell types from cells that people have named.

The names come from QuPath: classified detections, points, or areas, exported
as GeoJSON. X.geojson belongs to the tile X.png, X.tif, ... in --tiles.
"""

cli = typer.Typer(no_args_is_help=True, help=HELP)
CellFiles = Annotated[
    list[str],
    typer.Argument(
        metavar="CELLS",
        help="A GeoJSON file; a folder, for all such files below it; or a pattern.",
        show_default=False,
    ),
]
Tiles = Annotated[
    Path,
    typer.Option(
        file_okay=False,
        metavar="DIR",
        help="The folder of the tiles; they may lie in its sub-folders.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the same as JSON, with every object that names no cell.")]


@cli.command()
def train(
    cells: CellFiles,
    tiles: Tiles,
    name: Annotated[
        str,
        typer.Option(metavar="NAME", help="The name of the new bundle: small letters, digits, - and _."),
    ],
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="BUNDLE",
            help="The bundle to teach. Default: the one that MARROWSCOPE_BUNDLE names, else marrow.",
            show_default=False,
        ),
    ] = None,
    mpp: MppOption = None,
    group: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="A CSV table that says what is left out together: columns tile and group, or slide and patient. "
            "Default: each tile for itself.",
            show_default=False,
        ),
    ] = None,
    myeloid: Annotated[
        list[str] | None,
        typer.Option(metavar="TYPE", help="A type that counts as myeloid; repeat for more.", show_default=False),
    ] = None,
    erythroid: Annotated[
        list[str] | None,
        typer.Option(metavar="TYPE", help="A type that counts as erythroid; repeat for more.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Learn cell types from named cells, and write a new bundle that knows them.

    At least 10 named cells are needed, and 5 of each type. What the types are
    worth is measured on groups that are left out: patients or slides, if
    --group names them, else tiles. Name cells on three tiles or more.

    The new bundle is a copy of --from with the types in its manifest. Every
    answer then has them: marrowscope analyze tile.png --bundle NAME

    Examples:
      marrowscope classifier train named --tiles tiles --name lab
      marrowscope classifier train named --tiles tiles --name lab --json
      marrowscope classifier train named --tiles t --name lab --group p.csv
    """
    from app.shell.teach import Question, train_classifier

    with report_errors():
        train_classifier(
            read_settings(),
            Question(cells, tiles, mpp),
            name,
            source=source,
            group=group,
            lineages={"myeloid": myeloid or [], "erythroid": erythroid or []},
            as_json=as_json,
        )


@cli.command()
def evaluate(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A bundle with cell types.", show_default=False)],
    cells: CellFiles,
    tiles: Tiles,
    mpp: MppOption = None,
    as_json: AsJson = False,
) -> None:
    """Compare the types that a bundle gives with the names of other cells.

    Use tiles that the bundle has not learned from: the figures of others are
    better than those of a new tile.

    Example:
      marrowscope classifier evaluate lab named --tiles new-tiles
    """
    from app.shell.teach import Question, evaluate_classifier

    with report_errors():
        evaluate_classifier(read_settings(), Question(cells, tiles, mpp), name, as_json=as_json)
