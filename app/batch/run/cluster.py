"""The workers of a batch: one process per core of this machine, or the workers of a Dask scheduler."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import dask
from distributed import Client, LocalCluster

from app.answer.provenance import code_version
from app.batch.folder import MANIFEST
from app.pipeline.errors import PipelineError

CONNECT_S = 10.0
ATTEMPT_S = 5.0
"""How long one attempt to find a scheduler, and then a worker of it, may take."""
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
    """The workers cannot run the batch; the text says why."""


class SchedulerAway(PipelineError):
    """The scheduler, or every worker of it, is away and may come back; the text says which."""


class SchedulerLost(PipelineError):
    """The scheduler or its workers have been away for too long. What is finished stays on disk."""


class Absence:
    """How long the scheduler or its workers have been away, and whether that is too long.

    Args:
        patience_s: how long they may be away at a time, in seconds.

    Attributes:
        since: when they were first found to be away, UTC; None while both are there.
    """

    def __init__(self, patience_s: float) -> None:
        self.since: datetime | None = None
        self._patience_s = patience_s
        self._begun = 0.0

    def goes_on(self, reason: str) -> None:
        """Note that they are away.

        Raises:
            SchedulerLost: they have been away for too long.
        """
        if self.since is None:
            self.since, self._begun = datetime.now(UTC), monotonic()
        if monotonic() - self._begun >= self._patience_s:
            raise SchedulerLost(
                f"{reason} The batch has waited for {self._patience_s:g} s (MARROWSCOPE_SCHEDULER_PATIENCE_S); "
                "run the same command again to go on."
            )

    def ends(self) -> None:
        """Note that both are there."""
        self.since = None


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
        SchedulerAway: no scheduler answers, or it has no worker.
        ClusterUnusable: the address cannot be used, or one of the workers cannot run the batch.
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
            client = Client(scheduler, timeout=ATTEMPT_S)
        except OSError as error:
            raise SchedulerAway(f"No Dask scheduler answers at {scheduler}.") from error
        except ValueError as error:
            raise ClusterUnusable(f"{scheduler} is not the address of a Dask scheduler: {error}") from error
        with client:
            _check(client, scheduler, folder)
            yield client


def _check(client: Client, scheduler: str, folder: Path) -> None:
    try:
        client.wait_for_workers(1, timeout=ATTEMPT_S)
    except OSError as error:  # a TimeoutError is one, too
        raise SchedulerAway(f"The scheduler at {scheduler} has no worker.") from error
    try:
        versions: dict[str, str] = client.run(code_version)
        sees_folder: dict[str, bool] = client.run((folder / MANIFEST).exists)
    except OSError as error:
        raise SchedulerAway(f"A worker of {scheduler} went away.") from error
    except Exception as error:  # of any kind that a worker raises; most often Marrowscope is not installed there
        raise ClusterUnusable(f"A worker of {scheduler} cannot run Marrowscope: {error}") from error
    for worker, version in versions.items():
        if version != code_version():
            raise ClusterUnusable(f"Worker {worker} runs {version}; this is {code_version()}: results would differ.")
        if not sees_folder[worker]:
            raise ClusterUnusable(
                f"Worker {worker} does not see {folder}: it must be on a disk that all workers share."
            )
