"""What the commands share: options, the settings of the environment, and errors that are reported in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from app.pipeline.bundle.load import Bundle
    from app.settings import Settings

Precision = Literal["fast", "full"]
BundleOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The bundle to use. Default: the one that MARROWSCOPE_BUNDLE names, else marrow.",
        show_default=False,
    ),
]
MppOption = Annotated[
    float | None,
    typer.Option(
        help="µm per pixel of the tiles, 0.05 to 4. Default: what each file says, or else the bundle's.",
        show_default=False,
    ),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(help="full uses the exact network; fast uses one in 8-bit integers, where the bundle has it."),
]


@contextmanager
def report_errors() -> Iterator[None]:
    """Report an expected error in one line on stderr, and end with status 1."""
    from app.pipeline.errors import PipelineError

    try:
        yield
    except BrokenPipeError:
        raise  # The program that read stdout has ended; Typer handles that.
    except (PipelineError, OSError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error


@contextmanager
def usage_errors() -> Iterator[None]:
    """Report a wrong argument or option as one, and end with status 2."""
    from app.pipeline.errors import InvalidParameter

    try:
        yield
    except InvalidParameter as error:
        raise typer.BadParameter(str(error)) from error


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Report in one line how to install an optional library that is missing, and end with status 2.

    Args:
        extra: name of the extra in pyproject.toml.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        typer.echo(
            f"Error: {error.name} is not installed; `make {extra}` or `pip install marrowscope[{extra}]`.", err=True
        )
        raise typer.Exit(2) from error


def read_settings(**given: Any) -> Settings:
    """Return the settings of the environment, with those replaced that are given.

    Raises:
        typer.BadParameter: a setting is not valid.
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


def open_bundle(settings: Settings, name: str | None) -> Bundle:
    """Load the named bundle, or the default one, and no other.

    Raises:
        typer.BadParameter: there is no such bundle.
        InvalidBundle: the bundle cannot be used.
    """
    from app.pipeline.bundle.load import bundle_directories, load_bundle

    wanted = settings.bundle if name is None else name
    found = bundle_directories(settings.bundle_folders)
    if wanted not in found:
        known, folders = ", ".join(sorted(found)) or "none", " or ".join(map(str, settings.bundle_folders))
        raise typer.BadParameter(f"there is no '{wanted}' in {folders}; the bundles are: {known}.")
    return load_bundle(found[wanted], settings.threads)
