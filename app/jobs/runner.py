"""The thread that runs batches, one after the other."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from app.jobs.batch import Batch, State, StoreUnavailable
from app.jobs.command import RunningCommand
from app.jobs.folder import RESULTS
from app.jobs.progress import ProgressFile, read_progress
from app.jobs.store import Beat, Store
from app.lock import is_locked

log = logging.getLogger(__name__)

TICK_S = 1.0
"""How often the runner looks at its command, or for a batch to run, in seconds."""
CANCEL_S = 10.0
"""How long a command may take to end when its batch is cancelled, in seconds; then it is killed."""
SHUTDOWN_S = 3.0
"""The same when the service ends, which must not take long. The command loses no tile that it has finished."""
REFUSAL = "Error: "
"""A command gives its reason for refusing in a line that begins so. Its other lines are not shown to clients."""
MAX_LOST = 5
"""A batch during which the service died this many times is given up."""


class Runner:
    """Takes the oldest batch that waits, or whose runner has died, and runs the command for it.

    Args:
        store: the database; other runners may take batches from it too.
        folders: the folder that holds the folder of each batch, named by its id.
        command: returns the program and arguments for a batch and its folder.
    """

    def __init__(self, store: Store, folders: Path, command: Callable[[Batch, Path], Sequence[str]]) -> None:
        self._store = store
        self._folders = folders
        self._command = command
        self._name = uuid.uuid4().hex
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="batches", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the command if one runs. Its batch goes back into the queue and later goes on where it stopped."""
        self._is_closing.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._is_closing.wait(TICK_S):
            try:
                batch = self._store.claim(self._name)
                if batch is not None:
                    self._run(batch)
            except StoreUnavailable:
                continue  # The store has logged it; the batch is taken again when its heartbeat is old.
            except Exception:
                log.exception("a batch could not be run")  # The thread must live on for the next batch.

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
            command = RunningCommand(self._command(batch, folder), folder)
        except OSError as error:
            log.error("batch %s cannot be started: %s", batch.id, error)
            self._end(batch, "failed", f"It cannot be started: {error.strerror}.", None)
            return
        try:
            self._watch(batch, folder, command)
        finally:
            command.stop(SHUTDOWN_S)  # Whatever happened, no process is left behind.

    def _wait_for_lock(self, batch: Batch, folder: Path) -> Beat | None:
        """Wait while the command of a killed service still works in the folder; None if this service ends first."""
        beat = self._beat(batch, None)
        while beat == "go on" and is_locked(folder / RESULTS):
            if self._is_closing.wait(TICK_S):
                return None
            beat = self._beat(batch, None)
        return beat

    def _watch(self, batch: Batch, folder: Path, command: RunningCommand) -> None:
        """Follow the command until it has ended or must be stopped, and keep what becomes of its batch."""
        results = folder / RESULTS
        while (status := command.poll()) is None:
            if self._is_closing.wait(TICK_S):
                command.stop(SHUTDOWN_S)
                self._leave(batch, None)
                return
            beat = self._beat(batch, read_progress(results))
            if beat != "go on":
                command.stop(CANCEL_S)
                self._leave(batch, beat, read_progress(results))
                return
        progress = read_progress(results)
        stderr = command.stderr()
        # A client knows its source relative to the root, and must not learn where the root is.
        state, detail = outcome(status, progress, stderr.replace(batch.order.argument, batch.order.source))
        if state == "failed":
            log.error("batch %s failed with status %d: %s", batch.id, status, stderr)
        self._end(batch, state, detail, progress)

    def _leave(self, batch: Batch, why: Beat | None, progress: ProgressFile | None = None) -> None:
        """Stop working on a batch: it was cancelled, another runner has it by now, or (None) it goes on later."""
        if why == "cancel":
            self._end(batch, "cancelled", None, progress)
        elif why is None:
            self._store.give_back(batch.id, self._name)
            log.info("batch %s goes back into the queue", batch.id)

    def _beat(self, batch: Batch, progress: ProgressFile | None) -> Beat:
        try:
            return self._store.beat(batch.id, self._name, progress)
        except StoreUnavailable:
            return "go on"  # Without the database no other runner can take the batch either.

    def _end(self, batch: Batch, state: State, detail: str | None, progress: ProgressFile | None) -> None:
        """Store how a batch ended; if the database is away, try again until it is back or the service ends."""
        while True:
            try:
                self._store.end(batch.id, self._name, state, detail, progress)
                log.info("batch %s %s", batch.id, state)
                return
            except StoreUnavailable:
                if self._is_closing.wait(TICK_S):
                    raise


def outcome(status: int, progress: ProgressFile | None, stderr: str) -> tuple[State, str | None]:
    """Return the state and detail of a batch whose command has ended.

    Args:
        status: the exit status, negative for a signal. 0 means that all slides were analysed, 1 that some were not.
            Python also exits with 1 when a program breaks.
        progress: the last progress of the command.
        stderr: the end of what it wrote to stderr.
    """
    if status in {0, 1} and progress is not None and progress.state == "finished":
        return "finished", None
    if status < 0:
        return "failed", f"The command was killed by signal {-status}; there may be too little memory."
    refusals = [line.removeprefix(REFUSAL) for line in stderr.splitlines() if line.startswith(REFUSAL)]
    if refusals:
        return "failed", refusals[-1]
    return "failed", f"The command ended unexpectedly, with status {status}; the log of the service says more."
