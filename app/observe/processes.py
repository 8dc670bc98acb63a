"""The metrics of a service that runs as several processes.

prometheus-client keeps the numbers of each process in the files of one folder. Whichever process answers /metrics reads
them all, adds them up, and lists the memory of each process.
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
"""The environment variable in which prometheus-client looks for the folder when it is imported."""
LIVE_GAUGES = "gauge_livesum_"
"""The name of a file that every process has begins with this."""


@contextmanager
def shared_numbers() -> Iterator[None]:
    """Provide a folder in which the processes that are started in the block keep their numbers."""
    with tempfile.TemporaryDirectory(prefix="marrowscope-metrics-") as folder:
        os.environ[FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[FOLDER]


def shown_registry(own: CollectorRegistry) -> CollectorRegistry:
    """Return what /metrics shows: the numbers of this process, or of all processes if they share a folder.

    Args:
        own: the metrics of this process.
    """
    is_shared = FOLDER in os.environ
    shown = CollectorRegistry() if is_shared else own
    # The table is registered first, so that it drops the gauges of dead processes before they are summed.
    shown.register(ProcessTable())
    if is_shared:
        MultiProcessCollector(shown)
    return shown


class ProcessTable(Collector):
    """The number of processes and, on Linux, the memory, CPU time and open files of each."""

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of `ProcessCollector`, labelled with the process id."""
        pids = _processes()
        yield GaugeMetricFamily("marrowscope_processes", "Processes of the service that are alive.", value=len(pids))
        families: dict[str, Metric] = {}
        for pid in pids:
            for metric in ProcessCollector(pid=partial(str, pid), registry=None).collect():
                family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                for sample in metric.samples:
                    family.add_sample(sample.name, {"pid": str(pid)}, sample.value)
        yield from families.values()


def _processes() -> list[int]:
    """Return the ids of the living processes, and forget the gauges of the dead ones."""
    if FOLDER not in os.environ:
        return [os.getpid()]
    found = [int(path.stem.removeprefix(LIVE_GAUGES)) for path in Path(os.environ[FOLDER]).glob(f"{LIVE_GAUGES}*.db")]
    alive = [pid for pid in found if _is_alive(pid)]
    for pid in set(found) - set(alive):
        mark_process_dead(pid)
    return sorted(alive)


def _is_alive(pid: int) -> bool:
    if os.name != "posix":
        return True  # Windows has no harmless signal to test a process with.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
