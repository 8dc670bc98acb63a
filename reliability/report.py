"""Results of the experiments: a table on the terminal, docs/reliability/NAME.json, and the page docs/reliability.md."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from app import __version__
from bench import ROOT
from bench.machine import provenance

FOLDER = ROOT / "docs" / "reliability"
PAGE = FOLDER.with_suffix(".md")
HEAD = """# Reliability

What the service promises when it runs unattended in a laboratory's network, and what was measured.
`python -m reliability report` writes this page from the files in `docs/reliability`, each of which an experiment wrote.
CI runs the short form of each experiment (`--quick`) as a test. The clients of the experiments ran on the same machine
as the service.
"""
EXPERIMENTS: Mapping[str, tuple[str, str]] = {
    "cases": (
        "Never silently wrong",
        "A file that says something about its pixels that is easily passed over (a scale, a frame, a turn, a region, a "
        "second picture), and a request that is easily misread, get the right answer, or are refused with the reason.",
    ),
    "overlay": (
        "Nuclei of slides, where QuPath shows them",
        "One tile as three kinds of slides: its nuclei, read back from cells.geojson, lie on the pixels that QuPath "
        "shows of each file, in its frame and at its scale. The picture is [overlay.jpg](reliability/overlay.jpg).",
    ),
    "contract": (
        "Contract",
        "Every request, whether it fits `openapi.json` or not, gets an answer that `openapi.json` declares "
        "(schemathesis, all checks).",
    ),
    "fuzz": (
        "Damaged files and forms",
        "No file, form or query ends the service, causes a 500, takes longer than the time limit or leaks memory.",
    ),
    "limits": (
        "Limits",
        "A request that exceeds a limit is refused with a clear reason, and a normal client is served meanwhile.",
    ),
    "overload": (
        "Overload",
        "At ten times the capacity, at least 80% of the capacity is served; all other requests are refused within a "
        "second, with Retry-After.",
    ),
    "soak": (
        "Soak",
        "In half an hour of good and bad requests from 16 clients, no answer is lost or wrong, memory stays within "
        "±5%, and no file or thread is left open.",
    ),
    "faults": ("Faults", "No fault causes a wrong answer or the silent loss of a request that was accepted."),
    "container": (
        "The container",
        "Built from the unmodified Dockerfile and run as its user with a read-only root, it gives the same analysis as "
        "outside a container.",
    ),
}
"""Title and promise of each experiment, in the order of the page."""


def report(name: str, results: Mapping[str, Any], *, quick: bool, folder: Path = FOLDER) -> None:
    """Print the results of an experiment, and write them to a file unless it was the quick form.

    Args:
        name: name of the command.
        results: numbers, text, lists and mappings; a list of mappings becomes a table whose columns are their keys.
        quick: whether this was the short form that CI runs.
        folder: directory in which NAME.json is written.
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
    # A pipe or a file has no width; a wide one keeps the tables whole.
    console = Console(width=None if sys.stdout.isatty() else 200)
    single = Table("figure", "value", title=name)
    for key, value in results.items():
        if is_table(value):
            console.print(_terminal_table(key, value))
        else:
            single.add_row(key, text(value))
    if single.row_count:
        console.print(single)


def write_page(folder: Path = FOLDER, page: Path = PAGE) -> None:
    """Write docs/reliability.md from the results in a folder."""
    page.write_text(markdown(folder), encoding="utf-8")


def markdown(folder: Path = FOLDER) -> str:
    """Return the whole page; an experiment without results is reported as not measured."""
    parts = [HEAD]
    for name, (title, promise) in EXPERIMENTS.items():
        path = folder / f"{name}.json"
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        parts.append(f"## {title}\n\n{promise}\n\n{_section(found) if found else 'Not measured yet.'}")
    return "\n\n".join(part.strip() for part in parts) + "\n"


def is_table(value: Any) -> bool:
    """Return whether a result is a list of mappings, which becomes a table."""
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)


def text(value: Any) -> str:
    """Format a figure for people: a dash for None, four significant digits for a float."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {text(item)}" for key, item in value.items())
    return str(value)


def _terminal_table(title: str, rows: list[Mapping[str, Any]]) -> Table:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*(text(row.get(column)) for column in columns))
    return table


def _section(found: Mapping[str, Any]) -> str:
    machine = found["machine"]
    about = f"{found['date']}, commit {found['commit']}, {machine['cores']} cores ({machine['processor']})."
    parts = [f"    {found['command']}", about]
    results = found["results"]
    single = {key: value for key, value in results.items() if not is_table(value)}
    if single:
        parts.append(_markdown_table([{"figure": _words(key), "value": value} for key, value in single.items()]))
    for key, rows in results.items():
        if is_table(rows):
            parts.append(f"**{_words(key)}**\n\n{_markdown_table(rows)}")
    return "\n\n".join(part for part in parts if part)


def _markdown_table(rows: list[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [[_words(column) for column in columns], ["---"] * len(columns)]
    lines += [[text(row.get(column)).replace("|", "\\|") for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _words(key: str) -> str:
    return key.replace("_", " ")
