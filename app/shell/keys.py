"""The commands `marrowscope keys add`, `list` and `remove`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.shell.options import read_settings, report_errors

HELP = """Make, list and remove API keys.

MARROWSCOPE_KEYS_FILE names the file of keys; it holds only their SHA-256.
A running service reads a change with its next request. Run this command as
the user that runs the service: nobody else can read or write the file.
"""

cli = typer.Typer(no_args_is_help=True, help=HELP)
Name = Annotated[
    str, typer.Argument(help="Who uses the key: 1 to 80 characters. Logs show this name.", show_default=False)
]


@cli.command()
def add(name: Name) -> None:
    """Make a key and print it. It is not stored, and cannot be shown again.

    Example: MARROWSCOPE_KEYS_FILE=keys.json marrowscope keys add "scanner 2"
    """
    from app.access.keys import add_key

    with report_errors():
        path = _file()
        token = add_key(path, name)
        typer.echo(f"The key of {name!r} follows, for the header X-API-Key. It is not shown again:", err=True)
        typer.echo(token)


@cli.command("list")
def list_keys() -> None:
    """List the keys: when each was made, and its name."""
    from app.access.keys import read_keys

    with report_errors():
        for key in read_keys(_file()):
            typer.echo(f"{key.created.isoformat()}  {key.name}")


@cli.command()
def remove(name: Name) -> None:
    """Remove a key; requests with it are refused from then on.

    Example: marrowscope keys remove "scanner 2"
    """
    from app.access.keys import remove_key

    with report_errors():
        remove_key(_file(), name)
        typer.echo(f"The key of {name!r} is no longer valid.", err=True)


def _file() -> Path:
    """Return the keys file of the settings."""
    from app.pipeline.errors import InvalidParameter

    path = read_settings().keys_file
    if path is None:
        raise InvalidParameter("No file of keys is set. Set one, for example MARROWSCOPE_KEYS_FILE=keys.json.")
    return path
