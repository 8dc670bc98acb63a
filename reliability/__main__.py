"""`python -m reliability NAME [--quick]`: runs an experiment, prints a table and writes docs/reliability/NAME.json.

How to add an experiment:

1. `reliability/NAME.py` with `measure(quick: bool, …) -> dict`, whose result holds what JSON can hold.
2. A command here that imports it when it is called and passes its result to `report.report`.
3. Its title and its promise in `report.EXPERIMENTS`.
4. `tests/reliability/test_NAME.py`, marked slow: the quick form keeps its promises.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.streams import write_any_text
from reliability.report import report, write_page

Quick = Annotated[
    bool, typer.Option("--quick", help="Run the short form of CI: it takes a minute or two and writes no file.")
]

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@cli.command()
def limits(quick: Quick = False) -> None:
    """Exceed each limit again and again while a normal client is served."""
    from reliability.limits import measure

    report("limits", measure(quick=quick), quick=quick)


@cli.command()
def overload(quick: Quick = False) -> None:
    """Send ten times as many requests as the service can answer."""
    from reliability.overload import measure

    report("overload", measure(quick=quick), quick=quick)


@cli.command()
def soak(
    quick: Quick = False,
    minutes: Annotated[float, typer.Option(min=0.1, help="Duration of the load.")] = 30,
    clients: Annotated[int, typer.Option(min=1, help="Number of clients.")] = 16,
) -> None:
    """Send good and bad requests for half an hour: nothing is lost, wrong or left behind."""
    from reliability.soak.experiment import measure

    report("soak", measure(quick=quick, minutes=minutes, clients=clients), quick=quick)


@cli.command("report")
def write_report() -> None:
    """Write docs/reliability.md from the results of the experiments."""
    write_page()


@cli.command()
def contract(
    quick: Quick = False, cases: Annotated[int, typer.Option(min=1, help="Least number of requests.")] = 5000
) -> None:
    """Compare the running service with openapi.json, by requests that schemathesis generates."""
    from reliability.contract import measure

    report("contract", measure(quick=quick, cases=cases), quick=quick)


@cli.command()
def fuzz(
    quick: Quick = False,
    cases: Annotated[
        int, typer.Option(min=1, help="Cases over HTTP; five times as many are analysed in process.")
    ] = 20_000,
) -> None:
    """Send damaged tiles, wrong forms and odd queries, over HTTP and in process."""
    from reliability.fuzz.experiment import measure

    report("fuzz", measure(quick=quick, cases=cases), quick=quick)


@cli.command()
def corpus() -> None:
    """Draw the fuzzer's tiles again, into reliability/corpus."""
    from reliability.fuzz.corpus import write_corpus

    typer.echo(f"{write_corpus()} bytes written.")


@cli.command()
def faults(quick: Quick = False) -> None:
    """Cause one fault after the other, and compare what was promised with what happened."""
    from reliability.faults.experiment import measure

    report("faults", measure(quick=quick), quick=quick)


@cli.command()
def cases(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", exists=True, file_okay=False, help="Folder with the inputs. Default: draw them."),
    ] = None,
) -> None:
    """Put inputs to the program that could be answered wrongly without a word, and compare with the right answers.

    With a folder of inputs no file is written.
    """
    from reliability.cases.experiment import measure

    results = measure(folder)
    report("cases", results, quick=folder is not None)
    if results["wrong"] or results["missing"]:
        raise typer.Exit(1)


@cli.command()
def overlay(quick: Quick = False) -> None:
    """Draw the nuclei of three kinds of slides where QuPath would show them."""
    from reliability.cases.overlay import FIGURE, measure

    report("overlay", measure(None if quick else FIGURE), quick=quick)


if __name__ == "__main__":
    write_any_text()
    cli()
