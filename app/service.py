"""The analysis as a service: bundles, workers, a bounded queue, a time limit. Knows no HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from app.observe.metrics import Metrics
from app.pipeline.bundle.load import MANIFEST, Bundle, load_bundle
from app.pipeline.errors import InvalidBundle
from app.pipeline.manifest import SAMPLE
from app.pipeline.networks.backend import Precision
from app.pipeline.prototypes import prototype_grid, prototypes
from app.pipeline.run import Analysis, analyse
from app.pipeline.types import UInt8Array
from app.settings import Settings

log = logging.getLogger(__name__)
T = TypeVar("T")

BUSY = "Every worker is busy and the queue is full; try again shortly."


class ServiceError(Exception):
    """Base of what the service refuses; its text is safe to show to a client."""


class Busy(ServiceError):
    """Every worker is taken and the queue is full."""


class Stopping(Busy):
    """The service ends before the answer is there."""


class NotReady(ServiceError):
    """The bundle was found, and cannot be served."""


class UnknownBundle(ServiceError):
    """There is no such bundle."""


class TookTooLong(ServiceError):
    """The time limit passed before the answer was there."""


@dataclass(frozen=True, slots=True)
class Result:
    """An analysis, the bundle that gave it, and (K, n, 32, 32, 3) prototypes when they were asked for."""

    analysis: Analysis
    bundle: Bundle
    prototypes: list[UInt8Array]


class Analyzer:
    """Runs the pipeline on worker threads.

    Args:
        settings: limits and where the bundles are.
        metrics: what is told of the work.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        metrics.workers.set(settings.workers)
        metrics.places.set(settings.queue)
        self._bundles: dict[str, Bundle | InvalidBundle] = {}
        self._workers = ThreadPoolExecutor(settings.workers, thread_name_prefix="analyse")
        self._under_way: set[Future[Any]] = set()

    def load(self) -> None:
        """Load every bundle of the directory; one that is invalid is kept with its reason."""
        for manifest in sorted(self._settings.bundles_dir.glob(f"*/{MANIFEST}")):
            directory = manifest.parent
            try:
                self._bundles[directory.name] = bundle = load_bundle(directory, self._settings.threads)
                self._metrics.loaded(bundle)
                log.info("bundle %s loaded", directory.name)
            except InvalidBundle as error:
                self._bundles[directory.name] = error
                log.error("bundle %s cannot be served: %s", directory.name, error)

    def close(self) -> None:
        """Give the worker threads back; work that has not begun is dropped."""
        self._workers.shutdown(wait=False, cancel_futures=True)

    def bundle(self, name: str | None = None) -> Bundle:
        """The named bundle, or the default one.

        Raises:
            UnknownBundle: there is no such bundle.
            NotReady: it cannot be served; the text says why.
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
        """Every bundle that can be served, by name."""
        return {name: bundle for name, bundle in self._bundles.items() if isinstance(bundle, Bundle)}

    def is_default(self, name: str) -> bool:
        """Whether this bundle answers when a request names none."""
        return name == self._settings.bundle

    async def analyse(
        self,
        data: bytes,
        bundle_name: str | None,
        mpp: float | None,
        n_prototypes: int,
        precision: Precision,
        render: Callable[[Result], T],
    ) -> T:
        """Analyse one upload.

        Args:
            data: the uploaded bytes.
            bundle_name: None for the default one.
            mpp: µm per pixel of the upload, if known.
            n_prototypes: prototypes to draw for each cluster, 0 for none.
            precision: of Q.
            render: makes the answer, on the worker and within the time limit: a picture of a large tile takes a second.

        Raises:
            ServiceError, PipelineError: one of their subclasses.
        """
        bundle = self.bundle(bundle_name)

        def work() -> T:
            analysis = analyse(data, bundle, max_pixels=self._settings.max_pixels, mpp=mpp, precision=precision)
            self._metrics.analysed(bundle, analysis)
            return render(Result(analysis, bundle, embedded_prototypes(bundle, n_prototypes)))

        return await self._run(work)

    async def prototypes(self, cluster: int, n: int, seed: int, bundle_name: str | None) -> UInt8Array:
        """Prototypes of one cluster, (n, 32, 32, 3) uint8; raises as `analyse` does."""
        bundle = self.bundle(bundle_name)
        return await self._run(partial(_draw, bundle, cluster, n, seed))

    async def prototype_grid(self, rows: int, seed: int, bundle_name: str | None) -> UInt8Array:
        """The paper's grid, (rows, K, 32, 32, 3) uint8; raises as `analyse` does."""
        bundle = self.bundle(bundle_name)
        sizes = {"n_clusters": bundle.manifest.n_clusters, "latent_size": bundle.manifest.latent_size}
        return await self._run(partial(prototype_grid, bundle.backend, rows, seed, **sizes))

    async def sample(self, bundle_name: str) -> bytes:
        """The sample tile of a bundle; raises as `bundle` and `_run` do, and NotReady where the file has changed.

        It is read anew each time, long after the bundle was verified.
        """
        bundle = self.bundle(bundle_name)
        try:
            data = await self._run((bundle.directory / SAMPLE).read_bytes)
        except OSError as error:
            raise NotReady(f"The bundle's {SAMPLE} cannot be read.") from error
        if hashlib.sha256(data).hexdigest() != bundle.manifest.files[SAMPLE]:
            raise NotReady(f"The bundle's {SAMPLE} has been altered.")
        return data

    @property
    def is_full(self) -> bool:
        """Whether every worker and every place of the queue is taken; asked on the event loop, where work comes in."""
        return len(self._under_way) >= self._settings.workers + self._settings.queue

    async def _run(self, work: Callable[[], T]) -> T:
        """Do blocking work on a worker, off the event loop."""
        if self.is_full:
            raise Busy(BUSY)
        self._metrics.waiting.inc()
        try:
            future = self._workers.submit(self._begin, work)
        except RuntimeError as error:  # the system gives no thread: too little memory, or too many processes
            # The work waits all the same, for the next thread that can be started, and is then done for nobody.
            raise Busy("No worker can be started now; try again shortly.") from error
        # A thread cannot be stopped: its place is free when it ends, not when its client is gone.
        self._under_way.add(future)
        future.add_done_callback(self._ended)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._settings.time_limit_s)
        except TimeoutError as error:
            raise TookTooLong(f"The analysis took longer than {self._settings.time_limit_s:g} s.") from error
        except asyncio.CancelledError as error:  # the server's, when it has to end: the client is told before it does
            raise Stopping("The service is being stopped before the answer is there; try again shortly.") from error

    def _begin(self, work: Callable[[], T]) -> T:
        self._metrics.waiting.dec()
        with self._metrics.busy.track_inprogress():
            return work()

    def _ended(self, future: Future[T]) -> None:
        self._under_way.discard(future)
        if future.cancelled():
            self._metrics.waiting.dec()


def embedded_prototypes(bundle: Bundle, n: int) -> list[UInt8Array]:
    """Those that an answer holds: (n, 32, 32, 3) uint8 for each cluster; none for n = 0."""
    return [_draw(bundle, cluster, n, 0) for cluster in range(bundle.manifest.n_clusters if n else 0)]


def _draw(bundle: Bundle, cluster: int, n: int, seed: int) -> UInt8Array:
    manifest = bundle.manifest
    return prototypes(
        bundle.backend, cluster, n, seed, n_clusters=manifest.n_clusters, latent_size=manifest.latent_size
    )
