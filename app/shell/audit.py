"""The commands `marrowscope audit` and `marrowscope replay`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from app.shell.options import read_settings, report_errors

HELP = """Check the audit log, or begin a new file of it.

MARROWSCOPE_AUDIT_LOG names the log. With it, a service writes a line for each
request to POST /analyze before it answers. Each line names the SHA-256 of the
line before it, so a line that is changed, removed or inserted is found.
"""

cli = typer.Typer(no_args_is_help=True, help=HELP)


@cli.command("verify")
def verify_log(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="The files of one log, oldest first.", show_default=False)
    ],
) -> None:
    """Find lines that were changed, removed or inserted.

    The command prints what is wrong with which line, and the hash of the last
    line. Keep that hash elsewhere: it proves later that no line was removed
    from the end. The exit status is 0 if the log is intact, else 1.

    Examples:
      marrowscope audit verify audit.jsonl
      marrowscope audit verify audit.jsonl.2026* audit.jsonl
    """
    from app.audit.verify import verify

    with report_errors():
        report = verify(files)
    for finding in report.findings:
        typer.echo(f"{finding}{'.' if finding.is_fault else ' (no fault).'}", err=finding.is_fault)
    verdict = "intact" if report.is_intact else "NOT intact"
    count = f"{report.n_lines} {'line' if report.n_lines == 1 else 'lines'}"
    typer.echo(f"{count}, {verdict}; the hash of the last line is {report.last}")
    if not report.is_intact:
        raise typer.Exit(1)


@cli.command("rotate")
def rotate_log(
    file: Annotated[
        Path | None,
        typer.Argument(help="The log. Default: the file that MARROWSCOPE_AUDIT_LOG names.", show_default=False),
    ] = None,
) -> None:
    """Move the lines of the log to FILE.TIME; services go on writing to FILE.

    The first line of the new file names the hash of the last line of the old
    file, so both can be verified together. Do not move the file in any other
    way: a running service makes no new log, and would answer 503.
    """
    from app.audit.rotate import rotate
    from app.pipeline.errors import InvalidParameter

    with report_errors():
        log = file or read_settings().audit_log
        if log is None:
            raise InvalidParameter("No audit log is named. Name the file, or set MARROWSCOPE_AUDIT_LOG.")
        typer.echo(os.fsencode(rotate(log)))


def replay(
    request_id: Annotated[
        str, typer.Argument(metavar="REQUEST_ID", help="The request id of the answer.", show_default=False)
    ],
    tile: Annotated[
        Path, typer.Argument(metavar="TILE", help="The tile, the same file that was uploaded.", show_default=False)
    ],
    log: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="A file of the audit log; repeat the option for more. Default: the file of MARROWSCOPE_AUDIT_LOG.",
            show_default=False,
        ),
    ] = None,
    nuclei: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The nuclei, if some were uploaded with the tile.", show_default=False),
    ] = None,
) -> None:
    """Analyse a tile again as the audit log records it, and compare the results.

    The command also prints which code, backend, processor and libraries have
    changed since. The exit status is 0 if the result is the same to the last
    digit, 1 if it differs, and 2 if the analysis cannot be repeated.

    Example: marrowscope replay 7655f408cad6453a92a40465a8a37027 tile.png
    """
    from app.shell.replay import CannotReplay
    from app.shell.replay import replay as again

    settings = read_settings()
    logs = log or ([settings.audit_log] if settings.audit_log else [])
    try:
        if not logs:
            raise CannotReplay("No audit log is named. Name the file with --log, or set MARROWSCOPE_AUDIT_LOG.")
        done = again(request_id, tile, logs, settings, nuclei)
    except CannotReplay as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error
    if not done.is_log_intact:
        typer.echo("Warning: the log is not intact; see `marrowscope audit verify`.", err=True)
    for difference in done.differences:
        typer.echo(f"Changed since then: {difference}")
    if not done.is_same:
        typer.echo(f"DIFFERENT result: {done.now.result_sha256}; the log has {done.logged.result_sha256}")
        raise typer.Exit(1)
    typer.echo(f"The same result: {done.now.result_sha256}")
