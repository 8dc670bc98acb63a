"""Write the facts that a check recorded as JSON: `record.py COMMAND FACTS RECORD`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from app import __version__
from bench.machine import provenance


def value(text: str) -> str | float:
    """Return the text as a number if it is one."""
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text


def main(command: str, facts: Path, record: Path) -> None:
    """Write the record; a later fact replaces an earlier one with the same name."""
    pairs = (line.split("\t", 1) for line in facts.read_text(encoding="utf-8").splitlines())
    content = {
        "command": command,
        "code_version": __version__,
        **provenance(),
        "results": {name: value(text) for name, text in pairs},
    }
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
