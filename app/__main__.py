"""The `marrowscope` command."""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app import __version__
from app.shell import audit, batch, classifier, drift, keys, reviews
from app.shell.options import BundleOption, MppOption, PrecisionOption, read_settings, report_errors
from app.streams import write_any_text

# Each command imports what it needs when it runs, so that --help and the other commands start at once.
Format = StrEnum(
    "Format", ["json", "geojson", "dsa", "csv", "overlay", "labels", "stages"]
)  # Typer has no list of literals.

# rich keeps the line breaks of every paragraph but the first, so no line of a help text is wider than 76 characters.
HELP = """Cells, clusters, proportions and label of bone-marrow tiles.

For Research Use Only. Not for use in diagnostic procedures.

Begin with:
  marrowscope analyze tile.png -f overlay   # see the cells: tile.overlay.png
  marrowscope analyze tiles --out answers   # a folder: JSON and summary.csv
  marrowscope batch slides --out results    # whole slides and cohorts
  marrowscope prototypes                    # what the clusters look like
  marrowscope classifier --help             # teach it cell types by example
  marrowscope serve                         # over HTTP, documented at /docs

Every command has examples: marrowscope analyze --help
"""

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=HELP)

bundle_cli = typer.Typer(no_args_is_help=True, help="Adapt a bundle to a laboratory, or name its clusters.")
cli.add_typer(bundle_cli, name="bundle")
cli.add_typer(classifier.cli, name="classifier")
cli.add_typer(keys.cli, name="keys")
cli.add_typer(audit.cli, name="audit")
cli.add_typer(reviews.cli, name="reviews")
cli.command()(audit.replay)
cli.command()(drift.drift)
Cluster = Annotated[int, typer.Argument(min=0, help="The number of the cluster, from 0.")]


ANALYZE = """Analyse tiles without a server: one, several, or whole folders.

Formats:
  json      all of the answer, as POST /analyze gives it
  geojson   outlines, classes and measurements, for QuPath
  dsa       an annotation for HistomicsUI (Digital Slide Archive)
  csv       a row per cell
  overlay   the tile with the outlines in the clusters' colours, PNG
  labels    16-bit PNG: 0 is background, i + 1 is cell i
  stages    a figure of every step from tile to crops, PNG

Examples:
  marrowscope analyze tile.png > tile.json
  cat tile.png | marrowscope analyze - > tile.json
  marrowscope analyze tile.png -f overlay -f csv  # both, as files
  marrowscope analyze tile.png -f stages          # tile.stages.png
  marrowscope analyze tile.png --mpp 0.5          # scanned at 20x
  marrowscope analyze patients --out answers      # answers/p1/a.json ...
  marrowscope analyze "tiles/**/*.tif" --out answers
  marrowscope analyze tile.png --nuclei qupath.geojson > tile.json
  marrowscope analyze tile.png --bundle lab --corrections types.json

Each tile gets a file per format, in the same sub-folders as the tiles.
summary.csv gets a row per tile: cells, proportions, label, flags, or
what went wrong. The answer for a single tile goes to stdout if there is
no --out and the only format is json, geojson, dsa or csv.

A tile that cannot be read is named on stderr, and the others go on; the
exit status is then 1. It is 2 if the command itself is wrong.
"""
Tiles = Annotated[
    list[str],
    typer.Argument(
        metavar="TILE",
        help="A PNG, JPEG or TIFF with 8 bits per channel; a folder, for all such files below it; a pattern; or - for "
        "the bytes of one on standard input.",
        show_default=False,
    ),
]
Formats = Annotated[
    list[Format] | None,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="One of the formats above; repeat the option for more. Default: json.",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        file_okay=False,
        help="The folder for the answers and summary.csv; files of the same names are replaced. "
        "Default: the current folder.",
        show_default=False,
    ),
]
Nuclei = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        metavar="FILE|DIR",
        help="Nuclei to take instead of seeking them: GeoJSON or a label image; or a folder that has, for each tile "
        "X.png, X.geojson, X.json, X.png or X.tif.",
        show_default=False,
    ),
]


CorrectionsOption = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help="Types that a person gives to cells of the only tile, in place of those that the bundle finds: JSON with "
        'the numbers of the cells by type, as in {"Plasma cell": [12, 40]}.',
        show_default=False,
    ),
]
ReviewerOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Who gives these types. Default: reviewer.", show_default=False),
]
CellsSha256Option = Annotated[
    str | None,
    typer.Option(
        metavar="HEX",
        help="cells_sha256 of the answer that this person has looked at: if the bundle or the cells have changed "
        "since, the tile is refused.",
        show_default=False,
    ),
]


@cli.command(help=ANALYZE)
def analyze(
    tiles: Tiles,
    format: Formats = None,
    out: Out = None,
    bundle: BundleOption = None,
    mpp: MppOption = None,
    precision: PrecisionOption = "fast",
    nuclei: Nuclei = None,
    corrections: CorrectionsOption = None,
    reviewer: ReviewerOption = None,
    cells_sha256: CellsSha256Option = None,
) -> None:
    """Analyse tiles without a server."""
    from app.pipeline.memory import keep_buffers
    from app.shell.analyze import CorrectionsFile, analyze_tiles

    for option, value in (("--reviewer", reviewer), ("--cells-sha256", cells_sha256)):
        if value is not None and corrections is None:
            raise typer.BadParameter(f"{option} belongs to corrections; name their file with --corrections.")
    keep_buffers()
    with report_errors():
        is_complete = analyze_tiles(
            tiles,
            read_settings(),
            format or [Format.json],
            out=out,
            bundle=bundle,
            mpp=mpp,
            precision=precision,
            nuclei=nuclei,
            corrections=None if corrections is None else CorrectionsFile(corrections, reviewer, cells_sha256),
        )
    if not is_complete:
        raise typer.Exit(1)


cli.command(help=batch.HELP)(batch.batch)


@cli.command()
def prototypes(
    cluster: Annotated[
        int | None,
        typer.Argument(
            metavar="CLUSTER", help="The number of a cluster, from 0. Default: all clusters.", show_default=False
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            "--n",
            help="How many cells of the cluster (16) or rows of the grid (8) to draw; 1 to 64.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="The seed of the noise, 0 to 4294967295; the same seed draws the same cells.")
    ] = 0,
    bundle: BundleOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            metavar="FILE",
            help="The PNG to write; an existing file is replaced. Default: prototypes.png or cluster-K.png.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Draw typical cells of each cluster with the bundle's generator.

    Without CLUSTER, the picture has a column per cluster, with the same noise
    along a row. GET /prototypes and /prototypes/{cluster} give the same.

    Examples:
      marrowscope prototypes                    # prototypes.png
      marrowscope prototypes 2                  # 16 cells: cluster-2.png
      marrowscope prototypes 2 --n 64 --seed 7 --out many.png
    """
    from app.shell.prototypes import write_prototypes

    with report_errors():
        written = write_prototypes(read_settings(), cluster, n=n, seed=seed, bundle=bundle, out=out)
    typer.echo(os.fsencode(written))


@cli.command()
def serve(
    host: Annotated[
        str | None, typer.Option(help="The address to listen on (MARROWSCOPE_HOST, else 127.0.0.1).")
    ] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on (MARROWSCOPE_PORT, else 8000).")] = None,
    processes: Annotated[
        int, typer.Option(min=1, max=64, help="How many processes analyse tiles; one that dies is replaced.")
    ] = 1,
    without_keys: Annotated[
        bool,
        typer.Option("--without-keys", help="Serve other machines without keys (MARROWSCOPE_WITHOUT_KEYS)."),
    ] = False,
) -> None:
    """Serve the bundles over HTTP until Ctrl-C.

    Other settings come from the environment: docs/settings.md explains
    MARROWSCOPE_WORKERS, MARROWSCOPE_KEYS_FILE and all the rest. If other
    machines can reach the address, clients need keys (marrowscope keys);
    --without-keys turns that off.

    Examples:
      marrowscope serve                  # http://127.0.0.1:8000, for you only
      marrowscope serve --port 8080
      marrowscope serve --host 0.0.0.0   # for other machines too, with keys
      curl -F tile=@tile.png http://127.0.0.1:8000/analyze
    """
    from app import server
    from app.access.binding import check_access
    from app.jobs.batches import check_batches
    from app.review.reviews import check_reviews

    given = {"host": host, "port": port, "without_keys": without_keys or None}
    settings = read_settings(**{name: value for name, value in given.items() if value is not None})
    with report_errors():
        check_access(settings)
        check_batches(settings)
        check_reviews(settings.reviews_dir, settings.database_url)
    server.serve(settings, processes)


@cli.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@bundle_cli.command("adapt")
def adapt_to_laboratory(
    tiles: Annotated[
        list[str],
        typer.Argument(
            metavar="TILE",
            help="A PNG, JPEG or TIFF with 8 bits per channel, or a slide; a folder, for all of these below it; or a "
            "pattern.",
            show_default=False,
        ),
    ],
    name: Annotated[
        str, typer.Option(metavar="NAME", help="The name of the new bundle: small letters, digits, - and _.")
    ],
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="BUNDLE",
            help="The bundle to adapt. Default: the one that MARROWSCOPE_BUNDLE names, else marrow.",
            show_default=False,
        ),
    ] = None,
    mpp: MppOption = None,
    report: Annotated[
        Path | None,
        typer.Option(dir_okay=False, metavar="FILE", help="The page to write. Default: NAME.html.", show_default=False),
    ] = None,
) -> None:
    """Adapt a bundle to the stain and scanner of your laboratory.

    Give ten or more unlabelled tiles of healthy marrow, of several slides,
    or one or more slides: twenty tiles are cut from their tissue. The new
    bundle recolours tiles before it analyses them, so that they look like
    the training tiles, and knows what is usual in yours. Its networks and
    clusters are those of --from.

    A page in HTML says what differs, and which flags and proportions the
    tiles had before and have now. Look at it before you use the bundle.

    Examples:
      marrowscope bundle adapt tiles --name ours
      marrowscope bundle adapt s1.svs s2.svs --name ours
      marrowscope analyze tile.png --bundle ours
    """
    from app.shell.adapt import adapt_bundle

    with report_errors():
        adapt_bundle(tiles, read_settings(), name, source=source, mpp=mpp, report=report)


@bundle_cli.command("name")
def name_cluster(
    cluster: Cluster,
    name: Annotated[str, typer.Argument(help="The name, up to 80 characters.")],
    by: Annotated[str, typer.Option(help="Who gives the name.")],
    cells: Annotated[
        int | None, typer.Option(min=1, help="How many cells of the cluster that person looked at.")
    ] = None,
    bundle: BundleOption = None,
) -> None:
    """Give a cluster a name. Every answer then shows it; the manifest keeps who gave it and when.

    A cluster has no name until somebody gives it one: the clusters were learned without labels.
    The bundle's checksum changes with its names. Restart the service to serve them.

    Example: marrowscope bundle name 1 "small, round" --by "A. Smith" --cells 200
    """
    from app.pipeline.bundle import names

    def change(directory: Path) -> str:
        version = names.name_cluster(directory, cluster, name, by=by, cells=cells).version
        return f"Cluster {cluster} of {directory.name} is '{name.strip()}' (names, version {version})."

    _change_names(change, bundle)


@bundle_cli.command("unname")
def unname_cluster(cluster: Cluster, bundle: BundleOption = None) -> None:
    """Remove the name of a cluster.

    Example: marrowscope bundle unname 1
    """
    from app.pipeline.bundle import names

    def change(directory: Path) -> str:
        version = names.unname_cluster(directory, cluster).version
        return f"Cluster {cluster} of {directory.name} has no name (names, version {version})."

    _change_names(change, bundle)


def _change_names(change: Callable[[Path], str], bundle: str | None) -> None:
    """Change the names of a bundle, and print what was done or why it failed."""
    from app.pipeline.bundle.load import bundle_directory

    settings = read_settings()
    with report_errors():
        name = settings.bundle if bundle is None else bundle
        typer.echo(change(bundle_directory(name, settings.bundle_folders)))


def main() -> None:
    """Console entry point."""
    write_any_text()
    # Each command expands patterns itself; Typer must not do it first on Windows.
    cli(windows_expand_args=False)


if __name__ == "__main__":
    main()
