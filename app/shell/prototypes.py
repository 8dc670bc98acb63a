"""Generated cells → a PNG: what `marrowscope prototypes` does."""

from __future__ import annotations

from pathlib import Path

import typer

from app.answer.present import png
from app.pipeline.bundle.load import Bundle
from app.pipeline.errors import InvalidParameter, UnknownCluster
from app.pipeline.prototypes import prototype_grid, prototypes, square_grid, tile_grid
from app.settings import Settings
from app.shell.options import open_bundle
from app.shell.outputs import write

ROWS, CELLS = 8, 16
"""Rows of the grid and cells of a cluster where no number is given, as GET /prototypes and its cluster have them."""


def write_prototypes(
    settings: Settings, cluster: int | None, *, n: int | None, seed: int, bundle: str | None, out: Path | None
) -> Path:
    """Draw the grid of all clusters, or cells of one cluster, with the same bytes as the service.

    Args:
        settings: the folders of bundles.
        cluster: 0 … K − 1; None for the grid.
        n: number of cells of the cluster, or rows of the grid, 1 … MAX_PROTOTYPES; None for CELLS or ROWS.
        seed: 0 … 2³² − 1; the same seed gives the same cells.
        bundle: name of the bundle; None for the default one.
        out: file to write; None for prototypes.png or cluster-K.png in the current folder.

    Returns:
        The file that was written.

    Raises:
        typer.BadParameter: there is no such bundle or cluster, or a number is outside its range.
        InvalidBundle: the bundle cannot be used.
        CannotWrite: the file cannot be written.
    """
    try:
        picture = _draw(open_bundle(settings, bundle), cluster, n, seed)
    except (InvalidParameter, UnknownCluster) as error:
        raise typer.BadParameter(str(error)) from error
    target = out or Path("prototypes.png" if cluster is None else f"cluster-{cluster}.png")
    write(picture, target)
    return target


def _draw(bundle: Bundle, cluster: int | None, n: int | None, seed: int) -> bytes:
    if cluster is None:
        return png(tile_grid(prototype_grid(bundle, ROWS if n is None else n, seed)))
    return png(square_grid(prototypes(bundle, cluster, CELLS if n is None else n, seed)))
