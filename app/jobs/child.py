"""The command as a child process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from app.jobs.folder import SAID

ROOT = Path(__file__).parents[2]
"""Where the package is imported from."""
MAX_SAID_BYTES = 4000


class Child:
    """A running command, in a session of its own: Ctrl-C on the service's terminal is not for it.

    Args:
        command: program and arguments.
        folder: of the batch; what the command says on stderr is kept there.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._folder = folder
        # Not the package that may lie in the current folder by chance, but this one.
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", "TYPER_USE_RICH": "0"}
        bound = [sys.executable, "-m", "app.jobs.bound", str(os.getpid()), *command]
        with (folder / SAID).open("wb") as said:
            self._process = subprocess.Popen(  # noqa: S603 - no shell, and the paths in it are absolute
                bound,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env=environment,
                start_new_session=True,
            )

    def poll(self) -> int | None:
        """Its exit status, negative for the signal that killed it; None while it runs."""
        return self._process.poll()

    def stop(self, patience_s: float) -> None:
        """End it and all that it started: asked first, and killed when its time is up.

        Args:
            patience_s: how long it may take to end by itself.
        """
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_s)
        # What it started may outlive it.
        self._signal(signal.SIGKILL)
        self._process.wait()

    def said(self) -> str:
        """The end of what it said on stderr, without the path of its folder."""
        with (self._folder / SAID).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - MAX_SAID_BYTES))
            return file.read().decode(errors="replace").replace(f"{self._folder}/", "")

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
