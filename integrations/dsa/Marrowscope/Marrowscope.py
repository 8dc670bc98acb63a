"""The task `Marrowscope` of the Digital Slide Archive; `Marrowscope.xml` beside it describes its parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DESCRIPTION = Path(__file__).with_suffix(".xml")


def show_description(is_wanted: bool) -> None:
    """Print the description of the task, from which the archive makes its form."""
    if is_wanted:
        typer.echo(DESCRIPTION.read_bytes(), nl=False)
        raise typer.Exit


def run(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", exists=True, help="The slide or tile.")],
    output: Annotated[Path, typer.Argument(metavar="ANNOTATION", dir_okay=False, help="The file for the annotation.")],
    analysis_roi: Annotated[
        str, typer.Option("--analysis_roi", help="Left, top, width, height in px of level 0; four times -1 for all.")
    ] = "-1,-1,-1,-1",
    bundle: Annotated[str, typer.Option(help="The bundle; empty for the default one.")] = "",
    mpp: Annotated[float, typer.Option(help="µm per px of level 0; 0 takes what the file says.")] = 0.0,
    xml: Annotated[
        bool, typer.Option("--xml", callback=show_description, is_eager=True, help="Describe the task and exit.")
    ] = False,
) -> None:
    """Find the cells of a region of bone marrow, and write them as an annotation."""
    from app.answer.schemas import NOTICE
    from app.shell.options import needs_extra, open_bundle, read_settings, report_errors

    with needs_extra("batch"), report_errors():
        from app.shell.dsa import annotate

        settings = read_settings()
        result = annotate(
            image,
            analysis_roi,
            output,
            open_bundle(settings, bundle or None),
            mpp=mpp or None,
            max_pixels=settings.max_pixels,
        )
    typer.echo(NOTICE)
    typer.echo(f"{len(result.analysis.cells)} cells, {result.label.value}. {result.label.reason}")
    for flag in result.quality.flags:
        typer.echo(f"Warning: {flag.message}")


if __name__ == "__main__":
    typer.run(run)
