"""The `marrowscope` command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app import __version__

if TYPE_CHECKING:
    from app.settings import Settings

# What is imported within a command is not needed by the others, and takes a second.
Format = Literal["json", "stages"]
Precision = Literal["fast", "full"]

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Cells, clusters, proportions and label of bone-marrow tiles.",
)

bundle_cli = typer.Typer(no_args_is_help=True, help="Name the clusters of a bundle.")
cli.add_typer(bundle_cli, name="bundle")
Cluster = Annotated[int, typer.Argument(min=0, help="Number of the cluster, from 0.")]
BundleName = Annotated[str | None, typer.Option(metavar="NAME", help="Bundle (MARROWSCOPE_BUNDLE, marrow).")]


@cli.callback()
def options() -> None:
    """For Research Use Only. Not for use in diagnostic procedures."""


@cli.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (MARROWSCOPE_HOST, 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (MARROWSCOPE_PORT, 8000).")] = None,
) -> None:
    """Serve the bundles over HTTP.

    Example: marrowscope serve --port 8080
    """
    import uvicorn

    from app.main import create_app
    from app.memory import keep_buffers

    keep_buffers()
    given = {name: value for name, value in {"host": host, "port": port}.items() if value is not None}
    settings = _settings(**given)
    # server_header: the version of the server is nobody's business.
    uvicorn.run(create_app(settings), host=settings.host, port=settings.port, server_header=False)


@cli.command()
def analyze(
    tiles: Annotated[list[Path], typer.Argument(metavar="TILE", help="PNG, JPEG or TIFF with 8 bits per channel.")],
    format: Annotated[
        Format,
        typer.Option(help="json: what POST /analyze answers. stages: one figure of every step from tile to crops."),
    ] = "json",
    out: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            help="Folder for the answers, one file per tile; what is there under its name is replaced. "
            "Default: the current one, but the JSON of a single tile goes to stdout.",
            show_default=False,
        ),
    ] = None,
    bundle: Annotated[
        str | None, typer.Option(metavar="NAME", help="Bundle to analyse with (MARROWSCOPE_BUNDLE, marrow).")
    ] = None,
    mpp: Annotated[
        float | None,
        typer.Option(help="µm per pixel of the tiles, 0.05 to 4. Default: that of the bundle.", show_default=False),
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="full: the exact network. fast: in 8-bit integers, where the bundle has it.")
    ] = "fast",
) -> None:
    """Analyse tiles without a server.

    A tile that cannot be read is named on stderr and the others go on; the exit status is then 1.

    \b
    Examples:
      marrowscope analyze tile.png > tile.json
      marrowscope analyze tile.png --format stages    # tile.stages.png
      marrowscope analyze a.png b.tif --out answers   # answers/a.json, b.json
      marrowscope analyze tile.png --mpp 0.5          # scanned at 20x
    """  # noqa: D301
    from app import shell
    from app.memory import keep_buffers
    from app.pipeline.errors import InvalidBundle

    keep_buffers()
    try:
        is_complete = shell.analyze(tiles, _settings(), format, out=out, bundle=bundle, mpp=mpp, precision=precision)
    except (InvalidBundle, OSError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    if not is_complete:
        raise typer.Exit(1)


@bundle_cli.command("name")
def name_cluster(
    cluster: Cluster,
    name: Annotated[str, typer.Argument(help="What to call it, up to 80 characters.")],
    by: Annotated[str, typer.Option(help="Who says so.")],
    cells: Annotated[int | None, typer.Option(min=1, help="How many cells of the cluster they looked at.")] = None,
    bundle: BundleName = None,
) -> None:
    """Give a cluster a name, which every answer then carries; who gave it and when stays in the manifest.

    A cluster has no name until somebody gives it one: the clusters were learned without labels.
    The bundle's checksum changes with its names; restart the service to serve them.

    Example: marrowscope bundle name 1 "small, round" --by "A. Smith" --cells 200
    """
    from app import names

    def change(directory: Path) -> str:
        version = names.name_cluster(directory, cluster, name, by=by, cells=cells).version
        return f"Cluster {cluster} of {directory.name} is '{name.strip()}' (names, version {version})."

    _change_names(change, bundle)


@bundle_cli.command("unname")
def unname_cluster(cluster: Cluster, bundle: BundleName = None) -> None:
    """Take a cluster's name away.

    Example: marrowscope bundle unname 1
    """
    from app import names

    def change(directory: Path) -> str:
        version = names.unname_cluster(directory, cluster).version
        return f"Cluster {cluster} of {directory.name} has no name (names, version {version})."

    _change_names(change, bundle)


def _change_names(change: Callable[[Path], str], bundle: str | None) -> None:
    """Change the names of a bundle, and say so or why not."""
    from app.pipeline.errors import PipelineError

    settings = _settings()
    try:
        typer.echo(change(settings.bundles_dir / (settings.bundle if bundle is None else bundle)))
    except (PipelineError, OSError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error


def _settings(**given: Any) -> Settings:
    """The settings of the environment, but for those that were given.

    Raises:
        typer.BadParameter: one of them is not valid.
    """
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from app.settings import Settings

    try:
        return Settings(**given)
    except SettingsError as error:
        raise typer.BadParameter(f"{error} (lists are written as JSON)") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise typer.BadParameter(first["msg"], param_hint=f"MARROWSCOPE_{first['loc'][0]}".upper()) from error


def main() -> None:
    """Console entry point."""
    cli()


if __name__ == "__main__":
    main()
