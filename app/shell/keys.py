"""`marrowscope keys`: who may use the service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.shell.entry import read_settings, said

HELP = """Make, list and remove API keys.

They are kept in the file that MARROWSCOPE_KEYS_FILE names, as SHA-256 only.
A service that is running takes a change up with its next request. Run this
as the user of the service: nobody else is to read or write the file.
"""

cli = typer.Typer(no_args_is_help=True, help=HELP)
Name = Annotated[str, typer.Argument(help="Whose it is: 1 to 80 characters; logs show it.", show_default=False)]


@cli.command()
def add(name: Name) -> None:
    """Make a key and print it, once: it is kept nowhere.

    Example: MARROWSCOPE_KEYS_FILE=keys.json marrowscope keys add "scanner 2"
    """
    from app.keys import add_key

    with said():
        path = _file()
        token = add_key(path, name)
        typer.echo(f"The key of {name!r}, shown only now, goes into the header X-API-Key:", err=True)
        typer.echo(token)


@cli.command("list")
def list_keys() -> None:
    """List the names of the keys and when they were made."""
    from app.keys import read_keys

    with said():
        for key in read_keys(_file()):
            typer.echo(f"{key.created.isoformat()}  {key.name}")


@cli.command()
def remove(name: Name) -> None:
    """Take a key away: who has it is let in no more.

    Example: marrowscope keys remove "scanner 2"
    """
    from app.keys import remove_key

    with said():
        remove_key(_file(), name)
        typer.echo(f"The key of {name!r} is no longer valid.", err=True)


def _file() -> Path:
    """The keys file of the settings."""
    from app.pipeline.errors import InvalidParameter

    path = read_settings().keys_file
    if path is None:
        raise InvalidParameter("Which file holds the keys? Name it, such as MARROWSCOPE_KEYS_FILE=keys.json.")
    return path
