"""`python -m reliability faults`: causes each fault, and compares what was promised with what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from reliability.faults import bundle, environment, processes, resources
from reliability.faults.service import Healthy, healthy

KILLS, QUICK_KILLS = 5, 1


Fault = Callable[[Healthy, bool], Iterator[dict[str, Any]]]
"""Cause a fault, for a short time if the second argument is true, and yield a row for each promise about it."""

FAULTS: Mapping[str, Fault] = {
    "a worker is killed": lambda right, quick: processes.worker_killed(right, times=QUICK_KILLS if quick else KILLS),
    "two processes are terminated": lambda right, _: processes.terminated(right, "--processes", "2"),
    "one process is terminated": lambda right, _: processes.terminated(right),
    "the bundle is damaged before the start": lambda right, quick: bundle.before_the_start(right, quick=quick),
    "a number of the bundle is changed": lambda right, _: bundle.number_changed(right),
    "the bundle is damaged while the service runs": lambda right, _: bundle.while_it_runs(right),
    "files run out": lambda right, _: resources.files_run_out(right),
    "the disk is full for uploads": lambda right, _: resources.disk_full_for_uploads(right),
    "the disk is full for the audit log": lambda right, _: resources.disk_full_for_audit_log(right),
    "the disk is full for the shell": lambda *_: resources.disk_full_for_shell(),
    "ONNX Runtime is missing": lambda right, _: environment.without_onnxruntime(right),
    "the clock goes backwards": lambda right, _: environment.clock_going_backwards(right),
    "memory runs out": lambda right, quick: resources.memory_runs_out(right, quick=quick),
}


def measure(*, quick: bool) -> dict[str, Any]:
    """Cause one fault after the other in a real service.

    Args:
        quick: damage a few files of the bundle only, and cause every other fault once.

    Returns:
        `faults`: a row for each promise, with the number of right, wrong and lost answers. `promises_kept` and
        `promises_broken`: how many rows kept or broke their promise.
    """
    right = healthy()
    rows = [row for fault in FAULTS.values() for row in fault(right, quick)]
    kept = sum(row["kept"] for row in rows)
    return {"promises_kept": kept, "promises_broken": len(rows) - kept, "faults": rows}
