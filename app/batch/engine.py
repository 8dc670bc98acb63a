"""Slides → results, on the workers of Dask: what is missing is done, what fails is named, the rest goes on.

The client gives out work piece by piece and keeps no results: they are files, which every worker sees. So it does not
matter when it ends, how, or which worker did what.
"""

from __future__ import annotations

import json
import math
import shutil
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Client, Future, KilledWorker, wait
from distributed.client import FutureCancelledError

from app.batch import work
from app.batch.run_folder import Run, RunFolder
from app.files import write_whole
from app.pipeline.errors import PipelineError

AHEAD = 3
"""Pieces of work that wait for each worker, so that none has to wait for the client."""
TILES_TOGETHER = 4
"""Tiles of one piece of work, at most: about three seconds."""
LOOK_S = 1.0
"""How often progress is told, at least."""


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


@dataclass(slots=True)
class _Open:
    """A slide that is being worked on."""

    tiles: int
    left: int


@dataclass(frozen=True, slots=True)
class _Piece:
    """One piece of work: which slide, and which of its tiles if it is about tiles."""

    index: int
    kind: str
    numbers: tuple[int, ...] = ()


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
        self._open: dict[int, _Open] = {}
        self._running: dict[Future[Any], _Piece] = {}

    def work(self) -> None:
        """Do what is missing.

        Raises:
            SchedulerLost: the scheduler went away.
            OSError: progress cannot be told.
        """
        for index, entry in enumerate(self._run.slides):
            if summary := self._at.done(entry.slide):
                # Killed right after it had written that.
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
            except FutureCancelledError as error:
                raise SchedulerLost("The scheduler went away; run the same command again to go on.") from error
            for future in [future for future in self._running if future.done()]:
                self._ended(future, self._running.pop(future))
            self._told()

    def _told(self) -> None:
        self.progress.write(self._at.path, "running")
        self._tell(self.progress)

    def _give_out(self) -> bool:
        """Keep every worker busy; whether anything is under way."""
        if self._client.status != "running":
            raise SchedulerLost("The scheduler went away; run the same command again to go on.")
        room = AHEAD * max(1, len(self._client.nthreads()))
        while len(self._running) < room:
            if self._ready:
                piece = self._ready.popleft()
            elif self._waiting:
                piece = _Piece(self._waiting.popleft(), "prepare")
            else:
                break
            self._running[self._submit(piece)] = piece
        return bool(self._running)

    def _submit(self, piece: _Piece) -> Future[Any]:
        # Of a slide that is nearly done the rest comes first: its results are there sooner, and fewer are open.
        options = {"pure": False, "priority": -piece.index, "retries": 0}
        if piece.kind == "prepare":
            return self._client.submit(work.prepare_slide, self._at.path, piece.index, **options)
        if piece.kind == "tiles":
            return self._client.submit(work.analyse_tiles, self._at.path, piece.index, list(piece.numbers), **options)
        return self._client.submit(work.assemble_slide, self._at.path, piece.index, **options)

    def _ended(self, future: Future[Any], piece: _Piece) -> None:
        error = future.exception()
        if error is not None:
            self._fail(piece.index, reason_of(error))
        elif piece.kind == "prepare":
            self._prepared(piece.index, future.result())
        elif piece.kind == "tiles":
            self.progress.tiles_done += len(piece.numbers)
            if piece.index in self._open:
                self._open[piece.index].left -= len(piece.numbers)
                self._assemble_if_ready(piece.index)
        else:
            self.progress.slides_done += 1
        future.release()

    def _prepared(self, index: int, missing: list[int]) -> None:
        entry = self._run.slides[index]
        tiles = len(self._at.read_plan(entry.slide).tiles)
        self.progress.tiles += tiles
        self.progress.tiles_done += tiles - len(missing)
        self._open[index] = _Open(tiles, len(missing))
        workers = max(1, len(self._client.nthreads()))
        together = min(TILES_TOGETHER, max(1, math.ceil(len(missing) / (AHEAD * workers))))
        for first in range(0, len(missing), together):
            self._ready.append(_Piece(index, "tiles", tuple(missing[first : first + together])))
        self._assemble_if_ready(index)

    def _assemble_if_ready(self, index: int) -> None:
        if self._open[index].left == 0:
            del self._open[index]
            self._ready.appendleft(_Piece(index, "assemble"))

    def _fail(self, index: int, reason: str) -> None:
        """Give a slide up, once; what of it is done stays for the next time."""
        slide = self._run.slides[index].slide
        if any(failure.slide == slide for failure in self.progress.failures):
            return
        # In the run's order: that in which they come differs from one run to the next.
        order = [entry.slide for entry in self._run.slides]
        self.progress.failures.append(Failure(slide, reason))
        self.progress.failures.sort(key=lambda failure: order.index(failure.slide))
        self._open.pop(index, None)
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
