"""What every command does: read the settings of the environment, and say in a line what cannot be done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from app.settings import Settings


Precision = Literal["fast", "full"]
BundleOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Bundle to use (else that of MARROWSCOPE_BUNDLE, else marrow).", show_default=False
    ),
]
PrecisionOption = Annotated[
    Precision, typer.Option(help="full: the exact network. fast: in 8-bit integers, where the bundle has it.")
]


@contextmanager
def said() -> Iterator[None]:
    """Say in a line what cannot be done, and end with status 1."""
    from app.pipeline.errors import PipelineError

    try:
        yield
    except BrokenPipeError:
        raise  # Typer's own: whoever read stdout has gone.
    except (PipelineError, OSError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error


def read_settings(**given: Any) -> Settings:
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


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Say in a line how to install what is optional, and end with status 2.

    Args:
        extra: its name in pyproject.toml.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        typer.echo(
            f"Error: {error.name} is not installed; `make {extra}` or `pip install marrowscope[{extra}]`.", err=True
        )
        raise typer.Exit(2) from error
