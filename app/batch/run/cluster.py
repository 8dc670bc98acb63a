"""Workers: a process for each core of this machine, or those of a Dask scheduler elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
from distributed import Client, LocalCluster

from app.answer.provenance import code_version
from app.batch.folder import MANIFEST
from app.pipeline.errors import PipelineError

CONNECT_S = 10.0
SETTINGS = {
    "distributed.comm.timeouts.connect": CONNECT_S,
    # A tile takes a worker's interpreter for a while, which is no reason to warn.
    "distributed.admin.tick.limit": "1h",
    # What watches workers takes their time: each has a core, and nobody looks.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.scheduler.active-memory-manager.start": False,
}
"""Of Dask, in the client and in the workers that it starts."""


class ClusterUnusable(PipelineError):
    """There are no workers that could do the run; the text says why."""


@contextmanager
def connected(scheduler: str | None, workers: int, folder: Path) -> Iterator[Client]:
    """A client of Dask with workers that run this very code and see the folder of the run.

    Args:
        scheduler: its address, as tcp://host:8786; None for workers on this machine.
        workers: how many, on this machine.
        folder: of the run.

    Raises:
        ClusterUnusable: no scheduler answers, it has no worker, or one cannot do the run.
    """
    # What goes wrong is said in a line of our own.
    for name in ("distributed", "distributed.client", "tornado.application", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Memory is bounded by the tile's size; Dask's own guess would stop workers on a machine that is shared.
    with dask.config.set(SETTINGS):
        if scheduler is None:
            with (
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    memory_limit=None,
                    dashboard_address="127.0.0.1:0",
                    silence_logs=logging.CRITICAL,
                ) as cluster,
                Client(cluster) as client,
            ):
                yield client
            return
        try:
            client = Client(scheduler, timeout=CONNECT_S)
        except (OSError, ValueError) as error:
            raise ClusterUnusable(f"No Dask scheduler answers at {scheduler}.") from error
        with client:
            _check(client, scheduler, folder)
            yield client


def _check(client: Client, scheduler: str, folder: Path) -> None:
    try:
        client.wait_for_workers(1, timeout=CONNECT_S)
    except TimeoutError as error:
        raise ClusterUnusable(f"The scheduler at {scheduler} has no worker.") from error
    try:
        versions: dict[str, str] = client.run(code_version)
        sees: dict[str, bool] = client.run((folder / MANIFEST).exists)
    except Exception as error:  # of whatever kind the worker's is: most often that Marrowscope is not there
        raise ClusterUnusable(f"A worker of {scheduler} cannot run Marrowscope: {error}") from error
    for worker, version in versions.items():
        if version != code_version():
            raise ClusterUnusable(f"Worker {worker} runs {version}; this is {code_version()}: results would differ.")
        if not sees[worker]:
            raise ClusterUnusable(
                f"Worker {worker} does not see {folder}: it must be on a disk that all workers share."
            )
