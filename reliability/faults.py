"""`python -m reliability faults`: each fault, what was promised, and what happened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reliability import faults_bundle, faults_connections, faults_disk, faults_engine, faults_memory, faults_process
from reliability.faults_case import Healthy, healthy

KILLS, QUICK_KILLS = 5, 1


def measure(*, quick: bool) -> dict[str, Any]:
    """Break one thing after the other under a real service.

    Args:
        quick: a few files of the bundle, and each other fault once.

    Returns:
        `faults`: a row for each, with answers that were right, wrong and lost; `kept` and `broken`: promises.
    """
    rows = list(_faults(healthy(), quick=quick))
    kept = sum(row["kept"] for row in rows)
    return {"promises_kept": kept, "promises_broken": len(rows) - kept, "faults": rows}


def _faults(right: Healthy, *, quick: bool) -> Iterator[dict[str, Any]]:
    yield from faults_process.worker_killed(right, times=QUICK_KILLS if quick else KILLS)
    yield from faults_process.told_to_end(right, "--processes", "2")
    yield from faults_process.told_to_end(right)
    yield from faults_bundle.before_the_start(right, quick=quick)
    yield from faults_bundle.number_changed(right)
    yield from faults_bundle.while_it_runs(right)
    yield from faults_connections.files_run_out(right)
    yield from faults_disk.uploads(right)
    yield from faults_disk.audit_log(right)
    yield from faults_disk.shell_answers()
    yield from faults_engine.without_onnxruntime(right)
    yield from faults_engine.clock_going_backwards(right)
    yield from faults_memory.runs_out(right, quick=quick)
