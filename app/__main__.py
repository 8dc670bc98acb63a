"""The `marrowscope` command."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app import __version__

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Cells, clusters, proportions and label of bone-marrow tiles.",
)


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
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from app.main import create_app
    from app.settings import Settings

    given: dict[str, Any] = {name: value for name, value in {"host": host, "port": port}.items() if value is not None}
    try:
        settings = Settings(**given)
    except SettingsError as error:
        raise typer.BadParameter(f"{error} (lists are written as JSON)") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise typer.BadParameter(first["msg"], param_hint=f"MARROWSCOPE_{first['loc'][0]}".upper()) from error
    # server_header: the version of the server is nobody's business.
    uvicorn.run(create_app(settings), host=settings.host, port=settings.port, server_header=False)


def main() -> None:
    """Console entry point."""
    cli()


if __name__ == "__main__":
    main()
