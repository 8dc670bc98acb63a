"""The engine of a batch: it gives the workers one task after the other until every slide has results or has failed.

The results are files that every worker sees, so the engine keeps none. Therefore it does not matter when it is stopped,
or which worker did which task. A slide that fails is reported with its reason, and the other slides go on.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from distributed import Client, Future, KilledWorker, wait
from distributed.client import FutureCancelledError, FuturesCancelledError

from app.batch.folder import BatchFolder, BatchManifest
from app.batch.plan.plan import read_plan
from app.batch.run import tasks
from app.batch.run.resume import finished_slide
from app.jobs.progress import Failure, Progress, write_progress
from app.pipeline.errors import PipelineError

AHEAD = 3
"""The number of tasks that each worker is given in advance, so that none waits for the engine."""
RESULTS = (tasks.write_results, tasks.write_outlines)
"""The tasks that follow when all tiles of a slide are analysed; they can be done at the same time."""
REPORT_S = 1.0
"""The longest time between two reports of progress."""
LOST = "The scheduler went away; run the same command again to go on."


class SchedulerLost(PipelineError):
    """The connection to the scheduler broke; what is finished stays on disk."""


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

    Attributes:
        progress: how far the batch is.
    """

    def __init__(
        self, client: Client, folder: BatchFolder, batch: BatchManifest, show: Callable[[Progress], None]
    ) -> None:
        self._client = client
        self._folder, self._batch, self._show = folder, batch, show
        self.progress = Progress(slides=len(batch.slides))
        self._waiting: deque[int] = deque()
        """Slides that are not begun."""
        self._ready: deque[_Task] = deque()
        self._running: dict[Future[Any], _Task] = {}
        self._remaining: dict[int, int] = {}
        """The number of tasks that each begun slide still needs."""
        self._failed: dict[int, Failure] = {}

    def run(self) -> None:
        """Do all tasks whose results are missing.

        Raises:
            SchedulerLost: the scheduler went away.
            OSError: progress.json cannot be written.
        """
        self._skip_finished()
        self._report()
        while self._submit_ready():
            try:
                wait(list(self._running), timeout=REPORT_S, return_when="FIRST_COMPLETED")
            except TimeoutError:
                pass
            except (FutureCancelledError, FuturesCancelledError) as error:
                raise SchedulerLost(LOST) from error
            for future in [future for future in self._running if future.done()]:
                self._take(future, self._running.pop(future))
            self._report()

    def _report(self) -> None:
        write_progress(self._folder.path, self.progress, "running")
        self._show(self.progress)

    def _skip_finished(self) -> None:
        """Count the slides that an earlier run finished, and let the others wait."""
        for index, source in enumerate(self._batch.slides):
            if summary := finished_slide(self._folder, source.slide, self._batch):
                # The earlier run may have been killed before it removed these files.
                shutil.rmtree(self._folder.unfinished(source.slide), ignore_errors=True)
                self._advance(slides_done=1, tiles=summary.tiles, tiles_done=summary.tiles)
            else:
                self._waiting.append(index)

    def _submit_ready(self) -> bool:
        """Give every worker enough tasks; return whether any task is running."""
        if self._client.status != "running":
            raise SchedulerLost(LOST)
        room = AHEAD * max(1, len(self._client.nthreads()))
        while len(self._running) < room:
            if self._ready:
                task = self._ready.popleft()
            elif self._waiting:
                task = _Task(tasks.prepare_slide, self._waiting.popleft())
            else:
                break
            self._running[self._submit(task)] = task
        return bool(self._running)

    def _submit(self, task: _Task) -> Future[Any]:
        arguments = (self._folder.path, task.index, *(() if task.tile is None else (task.tile,)))
        # The first slides have priority: so fewer slides are unfinished at a time, and the first results come sooner.
        return self._client.submit(task.function, *arguments, pure=False, priority=-task.index, retries=0)

    def _take(self, future: Future[Any], task: _Task) -> None:
        """Take the result of a task that has ended, and see what follows from it."""
        if future.cancelled():
            raise SchedulerLost(LOST)
        error = future.exception()
        if error is not None:
            self._fail(task.index, reason_of(error))
        elif task.function is tasks.prepare_slide:
            self._begin_slide(task.index, future.result())
        else:
            self._advance(tiles_done=int(task.tile is not None))
            if task.index in self._remaining:
                self._remaining[task.index] -= 1
                self._continue_slide(task.index)
        future.release()

    def _begin_slide(self, index: int, missing: list[int]) -> None:
        n_tiles = len(read_plan(self._folder.plan(self._batch.slides[index].slide)).tiles)
        self._advance(tiles=n_tiles, tiles_done=n_tiles - len(missing))
        self._remaining[index] = len(missing) + len(RESULTS)
        self._ready.extend(_Task(tasks.analyse_slide_tile, index, number) for number in missing)
        self._continue_slide(index)

    def _continue_slide(self, index: int) -> None:
        """Let the results of a slide be written once its tiles are analysed, and finish the slide once they are."""
        if self._remaining[index] == len(RESULTS):
            self._ready.extendleft(_Task(function, index) for function in RESULTS)
        elif self._remaining[index] == 0:
            del self._remaining[index]
            shutil.rmtree(self._folder.unfinished(self._batch.slides[index].slide))
            self._advance(slides_done=1)

    def _fail(self, index: int, reason: str) -> None:
        """Give up a slide; what of it is finished stays for the next run. Only its first failure counts."""
        self._failed.setdefault(index, Failure(slide=self._batch.slides[index].slide, reason=reason))
        # The order in which slides fail differs between runs, so they are sorted.
        failures = tuple(self._failed[index] for index in sorted(self._failed))
        self.progress = self.progress.model_copy(update={"slides_failed": len(failures), "failures": failures})
        self._remaining.pop(index, None)
        self._ready = deque(task for task in self._ready if task.index != index)

    def _advance(self, **added: int) -> None:
        """Add to counts of the progress."""
        counts = {name: getattr(self.progress, name) + more for name, more in added.items()}
        self.progress = self.progress.model_copy(update=counts)


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
