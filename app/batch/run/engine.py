"""Slides → results, on the workers of Dask: what is missing is done, what fails is named, the rest goes on.

The client gives out work piece by piece and keeps no results: they are files, which every worker sees. So it does not
matter when it ends, how, or which worker did what.
"""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Client, Future, KilledWorker, wait
from distributed.client import FutureCancelledError, FuturesCancelledError

from app.batch.folder import Run, RunFolder
from app.batch.run import tasks as work
from app.files import write_whole
from app.pipeline.errors import PipelineError

AHEAD = 3
"""Pieces of work that wait for each worker, so that none has to wait for the client."""
RESULTS = (work.tell_slide, work.outline_slide)
"""What follows when all tiles of a slide are analysed; each can be done beside the other."""
LOOK_S = 1.0
"""How often progress is told, at least."""
LOST = "The scheduler went away; run the same command again to go on."


class SchedulerLost(PipelineError):
    """The connection to the scheduler broke; what is done stays."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A slide without results, and why."""

    slide: str
    reason: str


@dataclass(slots=True)
class Progress:
    """How far a run is.

    Attributes:
        slides: all of them.
        slides_done: with results.
        tiles: of the slides that were begun.
        tiles_done: of those.
        failures: slides without results.
    """

    slides: int
    slides_done: int = 0
    tiles: int = 0
    tiles_done: int = 0
    failures: list[Failure] = field(default_factory=list)

    def write(self, folder: Path, state: str) -> None:
        """Tell it in progress.json."""
        content = {
            "state": state,
            "slides": self.slides,
            "slides_done": self.slides_done,
            "slides_failed": len(self.failures),
            "tiles": self.tiles,
            "tiles_done": self.tiles_done,
            "failures": [{"slide": failure.slide, "reason": failure.reason} for failure in self.failures],
        }
        write_whole((json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode(), folder / "progress.json")


@dataclass(frozen=True, slots=True)
class _Piece:
    """One piece of work: what a worker is to do for which slide.

    Attributes:
        does: one of the functions of `work`.
        index: of the slide.
        tile: its number, if it is about one.
    """

    does: Callable[..., Any]
    index: int
    tile: int | None = None


class Engine:
    """Does a run.

    Args:
        client: of Dask, with workers.
        at: folder of the run, which all workers see.
        run: what is to be done.
        tell: called with the progress whenever it has changed.
    """

    def __init__(self, client: Client, at: RunFolder, run: Run, tell: Callable[[Progress], None]) -> None:
        self._client = client
        self._at, self._run, self._tell = at, run, tell
        self.progress = Progress(len(run.slides))
        self._waiting: deque[int] = deque()
        self._ready: deque[_Piece] = deque()
        self._left: dict[int, int] = {}
        """Pieces of work that are still to be done, by slide."""
        self._running: dict[Future[Any], _Piece] = {}
        self._failed: dict[int, Failure] = {}

    def work(self) -> None:
        """Do what is missing.

        Raises:
            SchedulerLost: the scheduler went away.
            OSError: progress cannot be told.
        """
        for index, entry in enumerate(self._run.slides):
            if summary := self._at.done(entry.slide, self._run):
                # It may have been killed before it could remove this.
                shutil.rmtree(self._at.work(entry.slide), ignore_errors=True)
                self.progress.slides_done += 1
                self.progress.tiles += summary.tiles
                self.progress.tiles_done += summary.tiles
            else:
                self._waiting.append(index)
        self._told()
        while self._give_out():
            try:
                wait(list(self._running), timeout=LOOK_S, return_when="FIRST_COMPLETED")
            except TimeoutError:
                pass
            except (FutureCancelledError, FuturesCancelledError) as error:
                raise SchedulerLost(LOST) from error
            for future in [future for future in self._running if future.done()]:
                self._ended(future, self._running.pop(future))
            self._told()

    def _told(self) -> None:
        self.progress.write(self._at.path, "running")
        self._tell(self.progress)

    def _give_out(self) -> bool:
        """Keep every worker busy; whether anything is under way."""
        if self._client.status != "running":
            raise SchedulerLost(LOST)
        room = AHEAD * max(1, len(self._client.nthreads()))
        while len(self._running) < room:
            if self._ready:
                piece = self._ready.popleft()
            elif self._waiting:
                piece = _Piece(work.prepare_slide, self._waiting.popleft())
            else:
                break
            self._running[self._submit(piece)] = piece
        return bool(self._running)

    def _submit(self, piece: _Piece) -> Future[Any]:
        arguments = (self._at.path, piece.index, *(() if piece.tile is None else (piece.tile,)))
        # What the first slides need comes first: their results are there sooner, and fewer are open.
        return self._client.submit(piece.does, *arguments, pure=False, priority=-piece.index, retries=0)

    def _ended(self, future: Future[Any], piece: _Piece) -> None:
        if future.cancelled():
            raise SchedulerLost(LOST)
        error = future.exception()
        if error is not None:
            self._fail(piece.index, reason_of(error))
        elif piece.does is work.prepare_slide:
            self._prepared(piece.index, future.result())
        else:
            self.progress.tiles_done += piece.tile is not None
            if piece.index in self._left:
                self._left[piece.index] -= 1
                self._go_on(piece.index)
        future.release()

    def _prepared(self, index: int, missing: list[int]) -> None:
        tiles = len(self._at.read_plan(self._run.slides[index].slide).tiles)
        self.progress.tiles += tiles
        self.progress.tiles_done += tiles - len(missing)
        self._left[index] = len(missing) + len(RESULTS)
        self._ready.extend(_Piece(work.analyse, index, number) for number in missing)
        self._go_on(index)

    def _go_on(self, index: int) -> None:
        """Begin the results of a slide once its tiles are done, and end with it once they are."""
        if self._left[index] == len(RESULTS):
            self._ready.extendleft(_Piece(does, index) for does in RESULTS)
        elif self._left[index] == 0:
            del self._left[index]
            shutil.rmtree(self._at.work(self._run.slides[index].slide))
            self.progress.slides_done += 1

    def _fail(self, index: int, reason: str) -> None:
        """Give a slide up, once; what of it is done stays for the next time."""
        self._failed.setdefault(index, Failure(self._run.slides[index].slide, reason))
        # In the run's order: that in which they come differs from one run to the next.
        self.progress.failures = [self._failed[index] for index in sorted(self._failed)]
        self._left.pop(index, None)
        self._ready = deque(piece for piece in self._ready if piece.index != index)


def reason_of(error: BaseException) -> str:
    """Why a slide has no results, in words."""
    if isinstance(error, KilledWorker):
        return "The workers that were at it died: most likely there is too little memory for so many of them."
    if isinstance(error, MemoryError):
        return "There is too little memory for it."
    if isinstance(error, PipelineError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
    return f"Unexpected {type(error).__name__}: {error}"
