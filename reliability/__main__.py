"""`python -m reliability NAME [--quick]`: one experiment; prints a table and writes docs/reliability/NAME.json.

How to add one:

1. `reliability/NAME.py` with `measure(quick: bool, …) -> dict`: plain numbers and text, which JSON can hold.
2. A command here that imports it when it is called and hands its figures to `results.report`: the table and the file.
3. `tests/reliability/test_NAME.py`, marked slow: the quick form keeps its promises.
"""

from __future__ import annotations

from typing import Annotated

import typer

from reliability.results import report

Quick = Annotated[bool, typer.Option("--quick", help="What CI runs: a minute or two, and no file is written.")]

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@cli.command()
def limits(quick: Quick = False) -> None:
    """Each limit hit again and again while a normal client goes on."""
    from reliability.limits import measure

    report("limits", measure(quick=quick), quick=quick)


@cli.command()
def overload(quick: Quick = False) -> None:
    """Ten times as many clients as the service can serve."""
    from reliability.overload import measure

    report("overload", measure(quick=quick), quick=quick)


@cli.command()
def soak(
    quick: Quick = False,
    minutes: Annotated[float, typer.Option(min=0.1, help="Of the load.")] = 30,
    clients: Annotated[int, typer.Option(min=1, help="How many ask at once.")] = 16,
) -> None:
    """Good and bad requests at once, for half an hour: nothing lost, wrong or left behind."""
    from reliability.soak import measure

    report("soak", measure(quick=quick, minutes=minutes, clients=clients), quick=quick)


@cli.command("report")
def write_report() -> None:
    """Write docs/reliability.md from what the experiments wrote."""
    from reliability.markdown import write_page

    write_page()


@cli.command()
def contract(
    quick: Quick = False, cases: Annotated[int, typer.Option(min=1, help="Requests, at least.")] = 5000
) -> None:
    """The running service against openapi.json, in requests made up by schemathesis."""
    from reliability.contract import measure

    report("contract", measure(quick=quick, cases=cases), quick=quick)


@cli.command()
def fuzz(
    quick: Quick = False,
    cases: Annotated[int, typer.Option(min=1, help="Over HTTP; five times as many in process.")] = 20_000,
) -> None:
    """Damaged tiles, wrong forms and odd queries, over HTTP and in process."""
    from reliability.fuzz import measure

    report("fuzz", measure(quick=quick, cases=cases), quick=quick)


@cli.command()
def corpus() -> None:
    """Draw the fuzzer's tiles anew, into reliability/corpus."""
    from reliability.corpus_files import write_corpus

    typer.echo(f"{write_corpus()} bytes written.")


@cli.command()
def faults(quick: Quick = False) -> None:
    """One thing broken after the other: what was promised then, and what happened."""
    from reliability.faults import measure

    report("faults", measure(quick=quick), quick=quick)


if __name__ == "__main__":
    cli()
