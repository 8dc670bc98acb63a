"""The engine of a batch: it gives the workers one task after the other until every slide has results or has failed.

The results are files that every worker sees, so the engine keeps none. Therefore it does not matter when it is stopped,
or which worker did which task. A slide that fails is reported with its reason, and the other slides go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import inf
from time import sleep
from typing import Any, TypeVar

from distributed import Client, Future, KilledWorker, wait
from distributed.client import FutureCancelledError, FuturesCancelledError

from app.batch.folder import BatchFolder, BatchManifest
from app.batch.run import tasks
from app.batch.run.cluster import Absence, SchedulerAway, connect_workers
from app.batch.run.tasks import Prepared
from app.jobs.progress import Change, Failure, Progress, write_progress
from app.pipeline.errors import PipelineError

T = TypeVar("T")
AHEAD = 3
"""The number of tasks that each worker is given in advance, so that none waits for the engine."""
RESULTS = (tasks.write_results, tasks.write_outlines)
"""The tasks that follow when all tiles of a slide are analysed; they can be done at the same time."""
REPORT_S = 1.0
"""The longest time between two reports of progress."""
RETRY_S = 1.0
"""The time between two attempts to reach a scheduler that is away."""
LOST = "The connection to the Dask scheduler broke."
NO_WORKER = "The Dask scheduler has no worker."


def run_on_workers(
    scheduler: str | None,
    workers: int,
    folder: BatchFolder,
    batch: BatchManifest,
    show: Callable[[Progress], None],
    patience_s: float,
) -> Progress:
    """Run a batch. If its scheduler goes away, wait for it and do what is then missing.

    Args:
        scheduler: the address of a scheduler; None starts workers on this machine.
        workers: how many workers to start on this machine.
        folder: the folder of the batch, which all workers see.
        batch: what the batch is to do.
        show: is called with the progress whenever it may have changed.
        patience_s: how long the scheduler or its workers may be away at a time, in seconds.

    Returns:
        The progress at the end: every slide is done or has failed.

    Raises:
        SchedulerLost: they were away for longer.
        ClusterUnusable: the workers cannot run the batch.
        OSError: progress.json cannot be written.
    """
    # The workers of this machine are begun again without end if they die.
    absence = Absence(inf if scheduler is None else patience_s)
    progress, changed = Progress(slides=len(batch.slides)), dict[int, Change]()
    while True:
        engine = None
        try:
            with connect_workers(scheduler, workers, folder.path) as client:
                engine = Engine(client, folder, batch, show, absence, changed)
                engine.run()
                return engine.progress
        except SchedulerAway as away:
            absence.goes_on(str(away))
        progress = engine.progress if engine else progress
        _report(folder, progress.model_copy(update={"waiting_since": absence.since}), show)
        sleep(RETRY_S)


def _report(folder: BatchFolder, progress: Progress, show: Callable[[Progress], None]) -> None:
    write_progress(folder.path, progress, "running")
    show(progress)


@dataclass(frozen=True, slots=True)
class _Task:
    """One task of one slide.

    Attributes:
        function: one of the functions of `tasks`.
        index: the place of the slide in the manifest of the batch.
        tile: the number of the tile; None if the task is about the whole slide.
    """

    function: Callable[..., Any]
    index: int
    tile: int | None = None


class Engine:
    """Runs a batch.

    Args:
        client: a client of Dask that has workers.
        folder: the folder of the batch, which all workers see.
        batch: what the batch is to do.
        show: is called with the progress whenever it may have changed.
        absence: how long the scheduler or its workers have been away.
        changed: the slides whose inputs were found to have changed before the scheduler went away, by their places in
            the batch; more are added.

    Attributes:
        progress: how far the batch is.
    """

    def __init__(
        self,
        client: Client,
        folder: BatchFolder,
        batch: BatchManifest,
        show: Callable[[Progress], None],
        absence: Absence,
        changed: dict[int, Change],
    ) -> None:
        self._client = client
        self._absence = absence
        self._folder, self._batch, self._show = folder, batch, show
        self._manifest = batch.sha256
        self.progress = Progress(slides=len(batch.slides))
        self._waiting = deque(range(len(batch.slides)))
        """Slides that are not begun."""
        self._ready: deque[_Task] = deque()
        self._running: dict[Future[Any], _Task] = {}
        self._remaining: dict[int, int] = {}
        """The number of tasks that each begun slide still needs."""
        self._inputs: dict[int, str] = {}
        """The checksum of the inputs of each begun slide, to which all of its tasks keep."""
        self._failed: dict[int, Failure] = {}
        self._changed = changed

    def run(self) -> None:
        """Do all tasks whose results are missing.

        Raises:
            SchedulerAway: the scheduler went away.
            SchedulerLost: there has been no worker for too long.
            OSError: progress.json cannot be written.
        """
        self._report()
        try:
            while self._submit_ready():
                with suppress(TimeoutError):
                    wait(list(self._running), timeout=REPORT_S, return_when="FIRST_COMPLETED")
                for future in [future for future in self._running if future.done()]:
                    self._take(future, self._running.pop(future))
                self._report()
        except PipelineError:
            raise
        except Exception as error:
            is_cancelled = isinstance(error, FutureCancelledError | FuturesCancelledError)
            if is_cancelled or self._client.status != "running":  # without a connection, Dask raises errors of any kind
                raise SchedulerAway(LOST) from error
            raise

    def _report(self) -> None:
        changing = {"changes": _in_order(self._changed), "waiting_since": self._absence.since}
        self.progress = self.progress.model_copy(update=changing)
        _report(self._folder, self.progress, self._show)

    def _submit_ready(self) -> bool:
        """Give every worker enough tasks; return whether any task is running."""
        if self._client.status != "running":
            raise SchedulerAway(LOST)
        room = AHEAD * max(1, self._count_workers())
        while len(self._running) < room:
            if self._ready:
                task = self._ready.popleft()
            elif self._waiting:
                task = _Task(tasks.prepare_slide, self._waiting.popleft())
            else:
                break
            self._running[self._submit(task)] = task
        return bool(self._running)

    def _count_workers(self) -> int:
        """Return how many workers there are. Their tasks wait in the scheduler while there is none."""
        with _asked():
            n_workers = len(self._client.nthreads())
        if n_workers:
            self._absence.ends()
        else:
            self._absence.goes_on(NO_WORKER)
        return n_workers

    def _submit(self, task: _Task) -> Future[Any]:
        arguments: tuple[object, ...] = (self._folder.path, self._manifest, task.index)
        if task.function is not tasks.prepare_slide:
            arguments += (self._inputs[task.index],)
        if task.tile is not None:
            arguments += (task.tile,)
        # The first slides have priority: so fewer slides are unfinished at a time, and the first results come sooner.
        return self._client.submit(task.function, *arguments, pure=False, priority=-task.index, retries=0)

    def _take(self, future: Future[Any], task: _Task) -> None:
        """Take the result of a task that has ended, and see what follows from it."""
        if future.cancelled():
            raise SchedulerAway(LOST)
        error = future.exception()
        if error is not None:
            self._fail(task.index, reason_of(error))
        elif task.function is tasks.prepare_slide:
            with _asked():
                prepared = future.result()
            self._begin_slide(task.index, prepared)
        else:
            self._advance(tiles_done=int(task.tile is not None))
            if task.index in self._remaining:
                self._remaining[task.index] -= 1
                self._continue_slide(task.index)
        future.release()

    def _begin_slide(self, index: int, slide: Prepared) -> None:
        self._advance(tiles=slide.n_tiles, tiles_done=slide.n_tiles - len(slide.missing))
        if slide.change is not None:
            self._changed[index] = Change(slide=self._batch.slides[index].slide, reason=slide.change)
        if slide.is_finished:
            self._advance(slides_done=1)
            return
        self._inputs[index] = slide.inputs_sha256
        self._remaining[index] = len(slide.missing) + len(RESULTS) + 1
        self._ready.extend(_Task(tasks.analyse_slide_tile, index, number) for number in slide.missing)
        self._continue_slide(index)

    def _continue_slide(self, index: int) -> None:
        """Let the results of a slide be written once its tiles are analysed, and finish the slide once they are."""
        if self._remaining[index] == len(RESULTS) + 1:
            self._ready.extendleft(_Task(function, index) for function in RESULTS)
        elif self._remaining[index] == 1:
            self._ready.appendleft(_Task(tasks.finish_slide, index))
        elif self._remaining[index] == 0:
            del self._remaining[index]
            self._advance(slides_done=1)

    def _fail(self, index: int, reason: str) -> None:
        """Give up a slide; what of it is finished stays for the next run. Only its first failure counts."""
        self._failed.setdefault(index, Failure(slide=self._batch.slides[index].slide, reason=reason))
        failures = _in_order(self._failed)
        self.progress = self.progress.model_copy(update={"slides_failed": len(failures), "failures": failures})
        self._remaining.pop(index, None)
        self._ready = deque(task for task in self._ready if task.index != index)

    def _advance(self, **added: int) -> None:
        """Add to counts of the progress."""
        counts = {name: getattr(self.progress, name) + more for name, more in added.items()}
        self.progress = self.progress.model_copy(update=counts)


def _in_order(by_index: Mapping[int, T]) -> tuple[T, ...]:
    """Return the values by the places of their slides in the batch, because slides end in another order in each run."""
    return tuple(by_index[index] for index in sorted(by_index))


@contextmanager
def _asked() -> Iterator[None]:
    """Take an error of the network while Dask is asked for a sign that the scheduler went away.

    Raises:
        SchedulerAway: the connection broke, though the client may not know it yet.
    """
    try:
        yield
    except OSError as error:
        raise SchedulerAway(LOST) from error


def reason_of(error: BaseException) -> str:
    """Return in words why a slide has no results."""
    if isinstance(error, KilledWorker):
        return "The workers that analysed it died: most likely there is too little memory for so many of them."
    if isinstance(error, MemoryError):
        return "There is too little memory for it."
    if isinstance(error, PipelineError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
    return f"Unexpected {type(error).__name__}: {error}"
