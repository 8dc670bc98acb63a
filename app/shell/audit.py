"""`marrowscope audit` and `marrowscope replay`: what was answered, and whether it can be answered again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.shell.entry import read_settings, said

HELP = """Check the audit log, or begin a new file of it.

MARROWSCOPE_AUDIT_LOG names it: a service then writes a line for each request
to POST /analyze before it answers. Every line names the SHA-256 of the one
before, so that one that is changed, removed or inserted is found.
"""

cli = typer.Typer(no_args_is_help=True, help=HELP)


@cli.command("verify")
def verify_log(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Of one log, oldest first.", show_default=False)],
) -> None:
    """Find lines that were changed, removed or inserted.

    Prints what is wrong with which line, and the last line's hash: kept
    elsewhere, it shows later that no line was taken from the end. The exit
    status is 0 where nothing is wrong, else 1.

    Examples:
      marrowscope audit verify audit.jsonl
      marrowscope audit verify audit.jsonl.2026* audit.jsonl
    """
    from app.audit.verify import verify

    with said():
        report = verify(files)
    for finding in report.findings:
        typer.echo(f"{finding}{'.' if finding.is_fault else ' (no fault).'}", err=finding.is_fault)
    verdict = "intact" if report.is_intact else "NOT intact"
    typer.echo(f"{report.n_lines} {'line' if report.n_lines == 1 else 'lines'}, {verdict}; the last is {report.last}")
    if not report.is_intact:
        raise typer.Exit(1)


@cli.command("rotate")
def rotate_log(
    file: Annotated[
        Path | None,
        typer.Argument(help="The log. Default: that of MARROWSCOPE_AUDIT_LOG.", show_default=False),
    ] = None,
) -> None:
    """Move what is in the log to FILE.TIME; services go on writing to FILE.

    The first line of the new file names the last one of the old, so that both
    can be verified together. Any other way of moving the file stops the
    service: it never begins a log while it runs.
    """
    from app.audit.rotate import rotate
    from app.pipeline.errors import InvalidParameter

    with said():
        log = file or read_settings().audit_log
        if log is None:
            raise InvalidParameter("Which file is the log? Name it, or set MARROWSCOPE_AUDIT_LOG.")
        typer.echo(rotate(log))


def replay(
    request_id: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="Of the answer.", show_default=False)],
    tile: Annotated[Path, typer.Argument(metavar="TILE", help="The file that was uploaded.", show_default=False)],
    log: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="A file of the audit log; may be given several times. Default: that of MARROWSCOPE_AUDIT_LOG.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Analyse a tile again as the audit log says, and compare the results.

    Says what else differs between then and now: code, backend, processor and
    libraries. The exit status is 0 where the result is the same to its last
    digit, 1 where it is another one, 2 where that cannot be tried.

    Example: marrowscope replay 7655f408cad6453a92a40465a8a37027 tile.png
    """
    from app.shell.replay import CannotReplay
    from app.shell.replay import replay as again

    settings = read_settings()
    logs = log or ([settings.audit_log] if settings.audit_log else [])
    try:
        if not logs:
            raise CannotReplay("Which file is the log? Name it with --log, or set MARROWSCOPE_AUDIT_LOG.")
        done = again(request_id, tile, logs, settings)
    except CannotReplay as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error
    if not done.is_log_intact:
        typer.echo("Warning: the log is not intact; see `marrowscope audit verify`.", err=True)
    for difference in done.differences:
        typer.echo(f"Other than then: {difference}")
    if not done.is_same:
        typer.echo(f"ANOTHER result: {done.answer.result_sha256}; the log has {done.logged.result_sha256}")
        raise typer.Exit(1)
    typer.echo(f"The same result: {done.answer.result_sha256}")
