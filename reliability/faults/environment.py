"""Faults of what the service relies on: ONNX Runtime is missing, or the clock runs backwards."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reliability.faults.service import OK, Healthy, ask, counts, detail, finding, is_ready, path_with, started
from reliability.soak.clients import Tally, under_load

MISSING = 'raise ImportError("ONNX Runtime is not installed (a fault for a test)")\n'
BACKWARDS = """
import time
start, now = time.monotonic(), time.time
# For each second of the machine's clock, this one goes back by two.
time.time = lambda: now() - 3 * (time.monotonic() - start)
time.time_ns = lambda: int(1e9 * time.time())
"""
CLOCK_LOAD_S = 3


def without_onnxruntime(right: Healthy) -> Iterator[dict[str, Any]]:
    """Hide ONNX Runtime, and compare PyTorch's answer with that of ONNX Runtime and its exact Q."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "onnxruntime.py").write_text(MISSING, encoding="utf-8")
        with started(PYTHONPATH=path_with(folder)) as server:
            ready, found = is_ready(server.address), ask(server.address, right.exact)
    is_answered = found is not None and found.status == OK
    backend = json.loads(found.body)["bundle"]["backend"] if found is not None and is_answered else detail(found)
    is_right = right.has_right_clusters(found)
    yield finding(
        "ONNX Runtime cannot be imported",
        "PyTorch finds nearly the same cells, in the same clusters",
        f"ready, answered by {backend}" if ready else f"not ready; {backend}",
        kept=ready and is_right and backend == "pytorch",
        right=int(is_right),
        wrong=int(is_answered and not is_right),
        lost=int(found is None),
    )


def clock_going_backwards(right: Healthy) -> Iterator[dict[str, Any]]:
    """Let Python's clock of the day run backwards under load; durations are measured with another clock."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sitecustomize.py").write_text(BACKWARDS, encoding="utf-8")
        with started(PYTHONPATH=path_with(folder)) as server:
            with under_load(server.address, right.cases, right.expected, tally, clients=4):
                time.sleep(CLOCK_LOAD_S)
            last = ask(server.address, right.sample)
    timing = json.loads(last.body)["timing_ms"] if last is not None and last.status == OK else {"none": -1}
    yield finding(
        "the clock runs backwards, 2 s each second",
        "answers stay right, and no duration is negative",
        f"shortest step {min(timing.values()):.3g} ms",
        kept=tally.right > 0 and not tally.wrong and not tally.lost and min(timing.values()) >= 0,
        **counts(tally),
    )
