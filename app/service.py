"""The analysis as a service: loaded bundles, worker threads, a bounded queue and a time limit. It knows no HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from app.observe.metrics import Metrics
from app.pipeline.bundle.load import MANIFEST, Bundle, bundle_directories, load_bundle, read_manifest
from app.pipeline.corrections import Corrections
from app.pipeline.errors import InvalidBundle
from app.pipeline.manifest import SAMPLE
from app.pipeline.networks.backend import Precision
from app.pipeline.prototypes import prototype_grid, prototypes
from app.pipeline.run import Analysis, Stages, analyse, analyse_stages
from app.pipeline.types import UInt8Array
from app.settings import Settings

log = logging.getLogger(__name__)
T = TypeVar("T")

BUSY = "Every worker is busy and the queue is full; try again shortly."


class ServiceError(Exception):
    """Base of the errors that the service raises on purpose; a client may see their text."""


class Busy(ServiceError):
    """Every worker is busy and the queue is full."""


class Stopping(Busy):
    """The service stops before the answer is complete."""


class NotReady(ServiceError):
    """The bundle exists and cannot be served."""


class UnknownBundle(ServiceError):
    """There is no such bundle."""


class TookTooLong(ServiceError):
    """The time limit passed before the answer was complete."""


class Analyzer:
    """Runs the pipeline on worker threads.

    Args:
        settings: the limits, and the folders of the bundles.
        metrics: counts tiles, stages, busy workers and the queue.

    Raises:
        RuntimeError: the system starts no more threads.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        metrics.workers.set(settings.workers)
        metrics.places.set(settings.queue)
        self._bundles: dict[str, Bundle | InvalidBundle] = {}
        self._loading = threading.Lock()
        self._stamps: dict[Path, tuple[int, int]] = {}
        """When each manifest was written that `load_new` has looked at, and its number on the disk."""
        self._workers = _started_workers(settings.workers)
        self._unfinished: set[Future[Any]] = set()

    def load(self) -> None:
        """Load every bundle of the folders. An invalid bundle is kept with its reason, and cannot be served."""
        for directory in bundle_directories(self._settings.bundle_folders).values():
            self._load(directory)

    def load_new(self) -> None:
        """Load the bundles that were taught or adapted, and are new in the folders or have another manifest.

        A bundle answers as before until its new version has reproduced its golden pair. If the new one is invalid, the
        old one is served on, and so is one that is gone.
        """
        with self._loading:
            for directory in bundle_directories(self._settings.bundle_folders).values():
                with suppress(OSError, InvalidBundle):  # It is being replaced at this moment, or is no bundle.
                    self._load_if_new(directory / MANIFEST)

    def _load_if_new(self, path: Path) -> None:
        found, served = os.stat(path), self._bundles.get(path.parent.name)
        stamp = (found.st_mtime_ns, found.st_ino)
        if self._stamps.get(path) == stamp:
            return
        manifest, sha256 = read_manifest(path.parent)
        is_made_here = manifest.cell_classifier or manifest.adaptation
        if is_made_here and not (isinstance(served, Bundle) and served.sha256 == sha256):
            self._load(path.parent)
        self._stamps[path] = stamp

    def _load(self, directory: Path) -> None:
        try:
            self._bundles[directory.name] = bundle = load_bundle(directory, self._settings.threads)
            self._metrics.loaded(bundle)
            log.info("bundle %s loaded", directory.name)
        except InvalidBundle as error:
            if not isinstance(self._bundles.get(directory.name), Bundle):
                self._bundles[directory.name] = error
            log.error("bundle %s cannot be served: %s", directory.name, error)

    def close(self) -> None:
        """Stop the worker threads; calls that still wait are dropped."""
        self._workers.shutdown(wait=False, cancel_futures=True)

    def bundle(self, name: str | None = None) -> Bundle:
        """Return the named bundle, or the default one.

        Raises:
            UnknownBundle: there is no such bundle.
            NotReady: the bundle cannot be served; the text says why.
        """
        wanted = self._settings.bundle if name is None else name
        found = self._bundles.get(wanted)
        if isinstance(found, Bundle):
            return found
        if found is not None:
            raise NotReady(str(found))
        if name is None:
            raise NotReady(f"The default bundle '{wanted}' was not found.")
        raise UnknownBundle(f"There is no bundle of that name; the bundles are: {', '.join(self.bundles()) or 'none'}.")

    def bundles(self) -> dict[str, Bundle]:
        """Return every bundle that can be served, by name."""
        return {name: bundle for name, bundle in self._bundles.items() if isinstance(bundle, Bundle)}

    def is_default(self, name: str) -> bool:
        """Return whether this bundle answers when a request names none."""
        return name == self._settings.bundle

    async def analyse(
        self,
        data: bytes,
        bundle_name: str | None,
        mpp: float | None,
        precision: Precision,
        answer: Callable[[Analysis, Bundle], T],
        nuclei: bytes | None = None,
        corrections: Corrections | None = None,
    ) -> T:
        """Analyse one upload on a worker thread, and return what `answer` makes of it.

        Args:
            data: the uploaded bytes.
            bundle_name: name of the bundle; None for the default one.
            mpp: µm per pixel of the upload; None where it is not known.
            precision: precision of Q.
            answer: makes the answer of the analysis and its bundle. It runs on the worker, too, and within the time
                limit, because the picture of a large tile takes a second.
            nuclei: the uploaded bytes of nuclei to take instead of seeking them; None to seek them.
            corrections: the types that a person has given to cells; None if nobody has.

        Raises:
            ServiceError: the bundle cannot be used, the queue is full, or the time limit passed.
            PipelineError: the upload cannot be analysed.
        """
        bundle = self.bundle(bundle_name)

        def answered() -> T:
            max_pixels = self._settings.max_pixels
            analysis = analyse(
                data,
                bundle,
                max_pixels=max_pixels,
                mpp=mpp,
                precision=precision,
                nuclei=nuclei,
                corrections=corrections,
            )
            self._metrics.analysed(bundle, analysis)
            return answer(analysis, bundle)

        return await self._on_worker(answered)

    async def analyse_stages(
        self,
        data: bytes,
        bundle_name: str | None,
        mpp: float | None,
        answer: Callable[[Analysis, Stages, Bundle], T],
    ) -> T:
        """Analyse one upload with the full network, and return what `answer` makes of it and of its crops.

        Arguments and errors are those of `analyse`.
        """
        bundle = self.bundle(bundle_name)

        def answered() -> T:
            max_pixels = self._settings.max_pixels
            analysis, stages = analyse_stages(data, bundle, max_pixels=max_pixels, mpp=mpp, precision="full")
            self._metrics.analysed(bundle, analysis)
            return answer(analysis, stages, bundle)

        return await self._on_worker(answered)

    async def work(self, call: Callable[[], T], time_limit_s: float | None = None) -> T:
        """Return the result of a call that takes a worker's time, as an analysis does; raises as `analyse` does.

        Args:
            call: what is to be done.
            time_limit_s: the time that it may take, with the wait for a worker, in s; None for that of an analysis.
        """
        return await self._on_worker(call, time_limit_s)

    async def prototypes(self, cluster: int, n: int, seed: int, bundle_name: str | None) -> UInt8Array:
        """Return generated cells of one cluster, (n, 32, 32, 3) uint8; raises as `analyse` does."""
        bundle = self.bundle(bundle_name)
        return await self._on_worker(partial(prototypes, bundle, cluster, n, seed))

    async def prototype_grid(self, rows: int, seed: int, bundle_name: str | None) -> UInt8Array:
        """Return the paper's grid of generated cells, (rows, K, 32, 32, 3) uint8; raises as `analyse` does."""
        bundle = self.bundle(bundle_name)
        return await self._on_worker(partial(prototype_grid, bundle, rows, seed))

    async def sample(self, bundle_name: str) -> bytes:
        """Return the sample tile of a bundle, the bytes of a PNG.

        The file is read each time, long after the bundle was verified, so its checksum is compared again.

        Raises:
            ServiceError: as `analyse` does; NotReady also if the file has changed or cannot be read.
        """
        bundle = self.bundle(bundle_name)
        try:
            data = await self._on_worker((bundle.directory / SAMPLE).read_bytes)
        except OSError as error:
            raise NotReady(f"The bundle's {SAMPLE} cannot be read.") from error
        if hashlib.sha256(data).hexdigest() != bundle.manifest.files[SAMPLE]:
            raise NotReady(f"The bundle's {SAMPLE} has been altered.")
        return data

    @property
    def is_full(self) -> bool:
        """Whether every worker and every place of the queue is taken. Only the event loop may ask."""
        return len(self._unfinished) >= self._settings.workers + self._settings.queue

    async def _on_worker(self, call: Callable[[], T], time_limit_s: float | None = None) -> T:
        """Run a blocking call on a worker thread, and return its result."""
        limit_s = time_limit_s or self._settings.time_limit_s
        if self.is_full:
            raise Busy(BUSY)
        self._metrics.waiting.inc()
        future = self._workers.submit(self._counted, call)
        # A thread cannot be stopped. Its place is free when the call ends, not when the client leaves.
        self._unfinished.add(future)
        future.add_done_callback(self._finished)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), limit_s)
        except TimeoutError as error:
            raise TookTooLong(f"The analysis took longer than {limit_s:g} s.") from error
        except asyncio.CancelledError as error:  # The server stops, and the client gets this answer before it does.
            raise Stopping("The service is stopping before the answer is complete; try again shortly.") from error

    def _counted(self, call: Callable[[], T]) -> T:
        self._metrics.waiting.dec()
        with self._metrics.busy.track_inprogress():
            return call()

    def _finished(self, future: Future[T]) -> None:
        self._unfinished.discard(future)
        if future.cancelled():
            self._metrics.waiting.dec()


def _started_workers(number: int) -> ThreadPoolExecutor:
    """Return an executor whose threads all run already.

    It would otherwise start a thread when a call comes for it. If the system then starts none, the executor keeps the
    call and runs it later, when its client has already been refused, and it then uses fewer threads than it may.

    Raises:
        RuntimeError: the system starts no more threads: it has too little memory, or too many processes.
    """
    workers = ThreadPoolExecutor(number, thread_name_prefix="analyse")
    # A thread that has ended its call would be given the next one, so the first threads wait for the last.
    together = threading.Barrier(number)
    try:
        for _ in range(number):
            workers.submit(together.wait)
    except RuntimeError:
        together.abort()
        workers.shutdown(wait=False, cancel_futures=True)
        raise
    return workers
