"""Figures of an experiment → a table on the terminal and docs/reliability/NAME.json."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from app import __version__
from bench.child import ROOT
from bench.machine import provenance

FOLDER = ROOT / "docs" / "reliability"


def report(name: str, results: Mapping[str, Any], *, quick: bool, folder: Path = FOLDER) -> None:
    """Print the figures; write them too, unless it was the quick form.

    Args:
        name: of the command.
        results: plain numbers, text, lists and mappings; a list of mappings becomes a table with their keys as columns.
        quick: whether this was the short form that CI runs.
        folder: where NAME.json goes.
    """
    show(name, results)
    if quick:
        return
    folder.mkdir(parents=True, exist_ok=True)
    written = {
        "command": f"python -m reliability {name}",
        "code_version": __version__,
        **provenance(),
        "results": results,
    }
    (folder / f"{name}.json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


def show(name: str, results: Mapping[str, Any]) -> None:
    """Print single figures in one table, and each list of mappings in a table of its own."""
    # What is not a terminal has no width; a table that is cut helps nobody.
    console = Console(width=None if sys.stdout.isatty() else 200)
    single = Table("figure", "value", title=name)
    for key, value in results.items():
        if is_table(value):
            console.print(_rows(key, value))
        else:
            single.add_row(key, text(value))
    if single.row_count:
        console.print(single)


def is_table(value: Any) -> bool:
    """Whether it is a list of mappings."""
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _rows(title: str, rows: list[Mapping[str, Any]]) -> Table:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*(text(row.get(column)) for column in columns))
    return table


def text(value: Any) -> str:
    """A figure as people read it."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {text(item)}" for key, item in value.items())
    return str(value)
