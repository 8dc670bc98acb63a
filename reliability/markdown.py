"""docs/reliability/*.json → docs/reliability.md: what was promised, what was measured, by which command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reliability.results import FOLDER, is_table, text

PAGE = FOLDER.with_suffix(".md")
HEAD = """# Reliability

What the service promises when it is left alone in a laboratory's network, and what was measured. Written by
`python -m reliability report` from the files in `docs/reliability`, each of which an experiment wrote. CI runs the
short form of each (`--quick`) as a test. Every request of the experiments went to the machine that they ran on.
"""
EXPERIMENTS: Mapping[str, tuple[str, str]] = {
    "contract": (
        "Contract",
        "Whatever fits `openapi.json`, and what does not, gets an answer that `openapi.json` declares (schemathesis, "
        "all checks).",
    ),
    "fuzz": (
        "Damaged files and forms",
        "No file, form or query ends the service, gives a 500, takes longer than the time limit or keeps memory.",
    ),
    "limits": ("Limits", "Each limit is met with a clear refusal while a normal client goes on being served."),
    "overload": (
        "Overload",
        "At ten times the capacity at least 80% of the peak is served; the others are refused within a second, with "
        "Retry-After.",
    ),
    "soak": (
        "Soak",
        "Half an hour of good and bad requests, 16 at once: nothing lost, nothing wrong, memory within ±5%, no "
        "descriptor or thread left open.",
    ),
    "faults": ("Faults", "No fault gives a wrong answer or loses an accepted request in silence."),
    "container": (
        "The container",
        "Built from the unmodified Dockerfile, run as its user with a read-only root, it analyses as outside.",
    ),
}
"""Title and promise of each, in the order of the page."""


def write_page(folder: Path = FOLDER, page: Path = PAGE) -> None:
    """Write the page anew."""
    page.write_text(markdown(folder), encoding="utf-8")


def markdown(folder: Path = FOLDER) -> str:
    """The whole page; an experiment without a file says so."""
    parts = [HEAD]
    for name, (title, promise) in EXPERIMENTS.items():
        path = folder / f"{name}.json"
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        parts.append(f"## {title}\n\n{promise}\n\n{_section(found) if found else 'Not measured yet.'}")
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _section(found: Mapping[str, Any]) -> str:
    machine = found["machine"]
    about = f"{found['date']}, commit {found['commit']}, {machine['cores']} cores ({machine['processor']})."
    parts = [f"    {found['command']}", about]
    results = found["results"]
    single = {key: value for key, value in results.items() if not is_table(value)}
    if single:
        parts.append(_table([{"figure": _words(key), "value": value} for key, value in single.items()]))
    for key, rows in results.items():
        if is_table(rows):
            parts.append(f"**{_words(key)}**\n\n{_table(rows)}")
    return "\n\n".join(part for part in parts if part)


def _table(rows: list[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [[_words(column) for column in columns], ["---"] * len(columns)]
    lines += [[text(row.get(column)).replace("|", "\\|") for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _words(key: str) -> str:
    return key.replace("_", " ")
