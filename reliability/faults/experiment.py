"""`python -m reliability faults`: causes each fault, and compares what was promised with what happened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reliability.faults import bundle, environment, processes, resources
from reliability.faults.service import Healthy, healthy

KILLS, QUICK_KILLS = 5, 1


def measure(*, quick: bool) -> dict[str, Any]:
    """Cause one fault after the other in a real service.

    Args:
        quick: damage a few files of the bundle only, and cause every other fault once.

    Returns:
        `faults`: a row for each fault, with the number of right, wrong and lost answers. `promises_kept` and
        `promises_broken`: how many rows kept or broke their promise.
    """
    rows = list(_faults(healthy(), quick=quick))
    kept = sum(row["kept"] for row in rows)
    return {"promises_kept": kept, "promises_broken": len(rows) - kept, "faults": rows}


def _faults(right: Healthy, *, quick: bool) -> Iterator[dict[str, Any]]:
    yield from processes.worker_killed(right, times=QUICK_KILLS if quick else KILLS)
    yield from processes.terminated(right, "--processes", "2")
    yield from processes.terminated(right)
    yield from bundle.before_the_start(right, quick=quick)
    yield from bundle.number_changed(right)
    yield from bundle.while_it_runs(right)
    yield from resources.files_run_out(right)
    yield from resources.disk_full_for_uploads(right)
    yield from resources.disk_full_for_audit_log(right)
    yield from resources.disk_full_for_shell()
    yield from environment.without_onnxruntime(right)
    yield from environment.clock_going_backwards(right)
    yield from resources.memory_runs_out(right, quick=quick)
