"""Several processes of one service: their numbers add up, and each one's memory is told.

prometheus-client keeps the numbers of each process in files of one folder, which whichever process is asked reads.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Variable of prometheus-client's own; it is read when that is imported."""
LIVE_GAUGES = "gauge_livesum_"
"""Begins the name of a file that every process has."""


@contextmanager
def shared_numbers() -> Iterator[None]:
    """While the processes run that are started within: a folder where they keep their numbers."""
    with tempfile.TemporaryDirectory(prefix="marrowscope-metrics-") as folder:
        os.environ[FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[FOLDER]


def shown_registry(own: CollectorRegistry) -> CollectorRegistry:
    """What /metrics shows: the numbers of this process, or of all where they share a folder."""
    shares = FOLDER in os.environ
    shown = CollectorRegistry() if shares else own
    # Registered first, and so asked first: it forgets what processes that are gone were busy with.
    shown.register(ProcessTable())
    if shares:
        MultiProcessCollector(shown)
    return shown


class ProcessTable(Collector):
    """Memory, CPU time and open files of each process, where the system tells (Linux), and how many there are."""

    def collect(self) -> Iterable[Metric]:
        """The metrics of `ProcessCollector`, with a label for the process."""
        pids = _processes()
        yield GaugeMetricFamily("marrowscope_processes", "Processes that answer.", value=len(pids))
        families: dict[str, Metric] = {}
        for pid in pids:
            for metric in ProcessCollector(pid=partial(str, pid), registry=None).collect():
                family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                for sample in metric.samples:
                    family.add_sample(sample.name, {"pid": str(pid)}, sample.value)
        yield from families.values()


def _processes() -> list[int]:
    """The processes of this service that are alive."""
    if FOLDER not in os.environ:
        return [os.getpid()]
    found = [int(path.stem.removeprefix(LIVE_GAUGES)) for path in Path(os.environ[FOLDER]).glob(f"{LIVE_GAUGES}*.db")]
    alive = [pid for pid in found if _is_alive(pid)]
    for pid in set(found) - set(alive):
        mark_process_dead(pid)
    return sorted(alive)


def _is_alive(pid: int) -> bool:
    if os.name != "posix":
        return True  # Windows has no harmless signal to ask with.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
