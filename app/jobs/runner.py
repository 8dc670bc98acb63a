"""A thread that works batches off, one after the other."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from app.jobs.batch import Batch, State
from app.jobs.child import Child
from app.jobs.command import TRY_AGAIN
from app.jobs.errors import StoreUnavailable
from app.jobs.folder import RESULTS, Told, read_progress
from app.jobs.lock import is_locked
from app.jobs.store import Beat, Store

log = logging.getLogger(__name__)

TICK_S = 1.0
"""Between two looks at the child, or for a batch to begin."""
CANCEL_S = 10.0
"""For the command to end when its batch is cancelled; then it is killed."""
SHUTDOWN_S = 3.0
"""Likewise when the service ends, which must not take long; the command loses no tile that it has finished."""
REFUSAL = "Error: "
"""Begins the line in which a command says why it does nothing; what else it says is not meant for a client."""
MAX_LOST = 5
"""A batch that takes the service down with it, over and over, is not begun for ever."""


class Runner:
    """Takes the oldest batch that waits, or whose runner has died, and runs the command on its folder.

    Args:
        store: the batches; other runners may take from it too.
        folders: holds the folder of each batch, under its id.
        command: program and arguments for a batch and its folder.
    """

    def __init__(self, store: Store, folders: Path, command: Callable[[Batch, Path], Sequence[str]]) -> None:
        self._store = store
        self._folders = folders
        self._command = command
        self._name = uuid.uuid4().hex
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def close(self) -> None:
        """Stop the command, if one runs; its batch waits again, and goes on where it was when it is taken next."""
        self._is_closing.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._is_closing.wait(TICK_S):
            try:
                batch = self._store.claim(self._name)
                if batch is not None:
                    self._run(batch)
            except StoreUnavailable:
                continue  # it is in the log; the batch is taken again when its heartbeat is old
            except Exception:
                log.exception("a batch could not be run")  # the thread is needed for the next one

    def _run(self, batch: Batch) -> None:
        folder = self._folders / batch.id
        log.info("batch %s begins", batch.id)
        if batch.n_lost >= MAX_LOST:
            self._end(batch, "failed", f"The service died {batch.n_lost} times while this batch ran.", None)
            return
        beat = self._wait_for_lock(batch, folder)
        if beat != "go on":
            self._leave(batch, beat)
            return
        try:
            child = Child(self._command(batch, folder), folder)
        except OSError as error:
            log.error("batch %s cannot be started: %s", batch.id, error)
            self._end(batch, "failed", f"It cannot be started: {error.strerror}.", None)
            return
        try:
            self._watch(batch, folder, child)
        finally:
            child.stop(SHUTDOWN_S)  # whatever happened, nothing is left behind

    def _wait_for_lock(self, batch: Batch, folder: Path) -> Beat | None:
        """Until no orphan of a killed service works on the folder; None: this service ends meanwhile."""
        beat = self._beat(batch, None)
        while beat == "go on" and is_locked(folder / RESULTS):
            if self._is_closing.wait(TICK_S):
                return None
            beat = self._beat(batch, None)
        return beat

    def _watch(self, batch: Batch, folder: Path, child: Child) -> None:
        """Look after a child until it has ended, or is to end."""
        while (status := child.poll()) is None:
            if self._is_closing.wait(TICK_S):
                child.stop(SHUTDOWN_S)
                self._leave(batch, None)
                return
            beat = self._beat(batch, read_progress(folder))
            if beat != "go on":
                child.stop(CANCEL_S)
                self._leave(batch, beat, read_progress(folder))
                return
        if status == TRY_AGAIN:
            self._leave(batch, None)
            return
        told = read_progress(folder)
        said = child.said()
        # A client knows its source below the root, and need not know where that is.
        state, detail = outcome(status, told, said.replace(batch.order.argument, batch.order.source))
        if state == "failed":
            log.error("batch %s failed with status %d: %s", batch.id, status, said)
        self._end(batch, state, detail, told)

    def _leave(self, batch: Batch, why: Beat | None, told: Told | None = None) -> None:
        """Stop working on a batch that is cancelled, another runner's by now, or to go on after a restart."""
        if why == "cancel":
            self._end(batch, "cancelled", None, told)
        elif why is None:
            self._store.give_back(batch.id, self._name)
            log.info("batch %s waits to be gone on with", batch.id)

    def _beat(self, batch: Batch, told: Told | None) -> Beat:
        try:
            return self._store.beat(batch.id, self._name, told)
        except StoreUnavailable:
            return "go on"  # nobody else can take it either

    def _end(self, batch: Batch, state: State, detail: str | None, told: Told | None) -> None:
        """Keep how it ended; without the database, until it is back or the service ends."""
        while True:
            try:
                self._store.end(batch.id, self._name, state, detail, told)
                log.info("batch %s %s", batch.id, state)
                return
            except StoreUnavailable:
                if self._is_closing.wait(TICK_S):
                    raise


def outcome(status: int, told: Told | None, said: str) -> tuple[State, str | None]:
    """State and detail of a batch whose command has ended.

    Args:
        status: exit status, negative for a signal. 0: all slides were analysed; 1: some of them were.
        told: its last progress; Python's own status is 1 too, when a program breaks.
        said: its last words on stderr.
    """
    if status in {0, 1} and told is not None and told.state == "finished":
        return "finished", None
    if status < 0:
        return "failed", f"The command was killed by signal {-status}; there may be too little memory."
    refusals = [line.removeprefix(REFUSAL) for line in said.splitlines() if line.startswith(REFUSAL)]
    if refusals:
        return "failed", refusals[-1]
    return "failed", f"The command ended unexpectedly, with status {status}; the log of the service says more."
