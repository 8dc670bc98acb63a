"""The `marrowscope` command."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app import __version__
from app.shell import audit, batch, keys
from app.shell.entry import BundleOption, PrecisionOption
from app.shell.entry import read_settings as _settings
from app.shell.entry import said as _said

# What is imported within a command is not needed by the others, and takes a second.
Format = StrEnum("Format", ["json", "geojson", "csv", "overlay", "labels", "stages"])  # typer has no list of literals

# rich keeps the line breaks of every paragraph but the first: no line of a help text is wider than 76 characters.
HELP = """Cells, clusters, proportions and label of bone-marrow tiles.

For Research Use Only. Not for use in diagnostic procedures.

Begin with:
  marrowscope analyze tile.png -f overlay   # see the cells: tile.overlay.png
  marrowscope analyze tiles --out answers   # a folder: JSON and summary.csv
  marrowscope batch slides --out results    # whole slides and cohorts
  marrowscope prototypes                    # what the clusters look like
  marrowscope serve                         # over HTTP, documented at /docs

Every command has examples: marrowscope analyze --help
"""

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=HELP)

bundle_cli = typer.Typer(no_args_is_help=True, help="Name the clusters of a bundle.")
cli.add_typer(bundle_cli, name="bundle")
cli.add_typer(keys.cli, name="keys")
cli.add_typer(audit.cli, name="audit")
cli.command()(audit.replay)
Cluster = Annotated[int, typer.Argument(min=0, help="Number of the cluster, from 0.")]


ANALYZE = """Analyse tiles without a server: one, several, or whole folders.

Formats:
  json      all of the answer, as POST /analyze gives it
  geojson   outlines, classes and measurements, for QuPath
  csv       a row per cell
  overlay   the tile with the outlines in the clusters' colours, PNG
  labels    16-bit PNG: 0 is background, i + 1 is cell i
  stages    a figure of every step from tile to crops, PNG

Examples:
  marrowscope analyze tile.png > tile.json
  marrowscope analyze tile.png -f overlay -f csv  # both, as files
  marrowscope analyze tile.png -f stages          # tile.stages.png
  marrowscope analyze tile.png --mpp 0.5          # scanned at 20x
  marrowscope analyze patients --out answers      # answers/p1/a.json ...
  marrowscope analyze "tiles/**/*.tif" --out answers

Each tile gets a file per format, in the sub-folders where it was found;
summary.csv gets a row per tile: cells, proportions, label, flags, or
what went wrong. Only one tile named by itself, without --out, is
answered on stdout, when its one format is json, geojson or csv.

A tile that cannot be read is named on stderr and the others go on; the
exit status is then 1. It is 2 where nothing was begun.
"""
Tiles = Annotated[
    list[str],
    typer.Argument(
        metavar="TILE",
        help="PNG, JPEG or TIFF with 8 bits per channel; or a folder, which stands for every such file beneath it; "
        "or a pattern.",
        show_default=False,
    ),
]
Formats = Annotated[
    list[Format] | None,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="One of those above; may be given several times. Default: json.",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        file_okay=False,
        help="Folder for the answers and summary.csv; what is there under their names is replaced. "
        "Default: the current one.",
        show_default=False,
    ),
]
Mpp = Annotated[
    float | None,
    typer.Option(help="µm per pixel of the tiles, 0.05 to 4. Default: that of the bundle.", show_default=False),
]


@cli.command(help=ANALYZE)
def analyze(
    tiles: Tiles,
    format: Formats = None,
    out: Out = None,
    bundle: BundleOption = None,
    mpp: Mpp = None,
    precision: PrecisionOption = "fast",
) -> None:
    """Analyse tiles without a server."""
    from app.memory import keep_buffers
    from app.shell.analyze import analyze_tiles

    keep_buffers()
    with _said():
        is_complete = analyze_tiles(
            tiles, _settings(), format or [Format.json], out=out, bundle=bundle, mpp=mpp, precision=precision
        )
    if not is_complete:
        raise typer.Exit(1)


cli.command(help=batch.HELP)(batch.batch)


@cli.command()
def prototypes(
    cluster: Annotated[
        int | None,
        typer.Argument(metavar="CLUSTER", help="Its number, from 0. Without it: all of them.", show_default=False),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option("--n", help="Cells of the cluster (16), or rows of the grid (8); 1 to 64.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the noise, 0 to 4294967295; the same one draws the same cells.")] = 0,
    bundle: BundleOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            metavar="FILE",
            help="PNG to write; what is there is replaced. Default: prototypes.png, or cluster-K.png.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Draw cells as the bundle's generator imagines each cluster.

    Without CLUSTER: a column per cluster, the same noise along a row. The
    picture is the one that GET /prototypes or /prototypes/{cluster} gives.

    Examples:
      marrowscope prototypes                    # prototypes.png
      marrowscope prototypes 2                  # 16 cells: cluster-2.png
      marrowscope prototypes 2 --n 64 --seed 7 --out many.png
    """
    from app.shell.prototypes import write_prototypes

    with _said():
        typer.echo(write_prototypes(_settings(), cluster, n=n, seed=seed, bundle=bundle, out=out))


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (MARROWSCOPE_HOST, 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (MARROWSCOPE_PORT, 8000).")] = None,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Each analyses tiles; one that dies is replaced.")] = 1,
    without_keys: Annotated[
        bool,
        typer.Option("--without-keys", help="Let everybody in, from other machines too (MARROWSCOPE_WITHOUT_KEYS)."),
    ] = False,
) -> None:
    """Serve the bundles over HTTP, until Ctrl-C.

    Other settings come from the environment: MARROWSCOPE_WORKERS,
    MARROWSCOPE_KEYS_FILE and more are explained in README.md. Addresses that
    other machines reach need keys (marrowscope keys), or --without-keys.

    Examples:
      marrowscope serve                  # http://127.0.0.1:8000, for you only
      marrowscope serve --port 8080
      marrowscope serve --host 0.0.0.0   # for other machines too, with keys
      curl -F tile=@tile.png http://127.0.0.1:8000/analyze
    """
    from app import server
    from app.access.binding import check_access
    from app.jobs.batches import check_batches

    given = {"host": host, "port": port, "without_keys": without_keys or None}
    settings = _settings(**{name: value for name, value in given.items() if value is not None})
    with _said():
        check_access(settings)
        check_batches(settings)
    server.serve(settings, processes)


@cli.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@bundle_cli.command("name")
def name_cluster(
    cluster: Cluster,
    name: Annotated[str, typer.Argument(help="What to call it, up to 80 characters.")],
    by: Annotated[str, typer.Option(help="Who says so.")],
    cells: Annotated[int | None, typer.Option(min=1, help="How many cells of the cluster they looked at.")] = None,
    bundle: BundleOption = None,
) -> None:
    """Give a cluster a name, which every answer then carries; who gave it and when stays in the manifest.

    A cluster has no name until somebody gives it one: the clusters were learned without labels.
    The bundle's checksum changes with its names; restart the service to serve them.

    Example: marrowscope bundle name 1 "small, round" --by "A. Smith" --cells 200
    """
    from app.pipeline.bundle import names

    def change(directory: Path) -> str:
        version = names.name_cluster(directory, cluster, name, by=by, cells=cells).version
        return f"Cluster {cluster} of {directory.name} is '{name.strip()}' (names, version {version})."

    _change_names(change, bundle)


@bundle_cli.command("unname")
def unname_cluster(cluster: Cluster, bundle: BundleOption = None) -> None:
    """Take a cluster's name away.

    Example: marrowscope bundle unname 1
    """
    from app.pipeline.bundle import names

    def change(directory: Path) -> str:
        version = names.unname_cluster(directory, cluster).version
        return f"Cluster {cluster} of {directory.name} has no name (names, version {version})."

    _change_names(change, bundle)


def _change_names(change: Callable[[Path], str], bundle: str | None) -> None:
    """Change the names of a bundle, and say so or why not."""
    settings = _settings()
    with _said():
        typer.echo(change(settings.bundles_dir / (settings.bundle if bundle is None else bundle)))


def main() -> None:
    """Console entry point."""
    # Patterns are expanded as the commands have it, on Windows too.
    cli(windows_expand_args=False)


if __name__ == "__main__":
    main()
