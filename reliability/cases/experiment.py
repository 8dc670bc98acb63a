"""`python -m reliability cases`: puts each case to the program, and compares what comes back with what is right."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.server import Server, serving
from reliability.cases.drive import found
from reliability.cases.inputs import draw_inputs
from reliability.cases.table import CASES, Case, Check

SETTINGS = {"MARROWSCOPE_BODY_TIMEOUT_S": "3"}
"""A short wait for the body, so that a slow upload need not take minutes."""


def measure(folder: Path | None = None) -> dict[str, Any]:
    """Put every case to the program.

    Args:
        folder: holds the inputs, each in the folder of its case; without it they are drawn.

    Returns:
        `cases`: a row for each, with what is right, what came and whether both agree. `right`, `wrong` and `missing`:
        how many rows are right, are wrong, or lack their input.
    """
    with ExitStack() as stack:
        if folder is None:
            inputs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            draw_inputs(inputs)
        else:
            inputs = folder
        server = stack.enter_context(serving(**SETTINGS))
        rows = [row_of(case, inputs, server) for case in CASES if case.is_drawn or folder is not None]
    outcomes = [row["outcome"] for row in rows]
    return {**{name: outcomes.count(name) for name in ("right", "wrong", "missing")}, "cases": rows}


def row_of(case: Case, inputs: Path, server: Server) -> dict[str, Any]:
    """Put a case to the program, and return its row of the table."""
    path = inputs / case.input
    needs_file = "." in path.name
    if needs_file and not path.is_file():
        return {"input": case.input, "how": case.how, "right": None, "came": None, "outcome": "missing"}
    came = case.drive(path, server)
    values = {name: found(came, name) for name in case.right}
    wrong = {name for name, wanted in case.right.items() if not _agrees(values[name], wanted)}
    shown = {name: values[name] for name in case.right if name in wrong or not isinstance(case.right[name], Check)}
    return {
        "input": case.input,
        "how": case.how,
        "right": {name: wanted.words if isinstance(wanted, Check) else wanted for name, wanted in case.right.items()},
        "came": shown,
        "outcome": "wrong" if wrong else "right",
    }


def _agrees(value: Any, wanted: Any) -> bool:
    return wanted.holds(value) if isinstance(wanted, Check) else bool(value == wanted)
