"""The workers of a batch: one process per core of this machine, or the workers of a Dask scheduler."""

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
    # While a tile is analysed its worker does not answer for a while, which is not worth a warning.
    "distributed.admin.tick.limit": "1h",
    # Nobody reads Dask's profiles and statistics of the workers here, and collecting them takes time from the analysis.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.scheduler.active-memory-manager.start": False,
}
"""Settings of Dask, in this process and in the workers that it starts."""


class ClusterUnusable(PipelineError):
    """There are no workers that can run the batch; the text says why."""


@contextmanager
def connect_workers(scheduler: str | None, workers: int, folder: Path) -> Iterator[Client]:
    """Connect to workers that run the same code and see the folder of the batch.

    Args:
        scheduler: the address of a scheduler, such as tcp://host:8786; None starts workers on this machine.
        workers: how many workers to start on this machine.
        folder: the folder of the batch.

    Yields:
        A client of Dask. Workers that were started here end with the block.

    Raises:
        ClusterUnusable: no scheduler answers, or it has no worker, or one of its workers cannot run the batch.
    """
    # Errors of Dask are reported in one line of our own instead.
    for name in ("distributed", "distributed.client", "tornado.application", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with dask.config.set(SETTINGS):
        if scheduler is None:
            with (
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    # The size of a tile limits memory; Dask's own limit would stop workers on a shared machine.
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
        sees_folder: dict[str, bool] = client.run((folder / MANIFEST).exists)
    except (
        Exception
    ) as error:  # it is of any kind that the worker raises; most often Marrowscope is not installed there
        raise ClusterUnusable(f"A worker of {scheduler} cannot run Marrowscope: {error}") from error
    for worker, version in versions.items():
        if version != code_version():
            raise ClusterUnusable(f"Worker {worker} runs {version}; this is {code_version()}: results would differ.")
        if not sees_folder[worker]:
            raise ClusterUnusable(
                f"Worker {worker} does not see {folder}: it must be on a disk that all workers share."
            )
