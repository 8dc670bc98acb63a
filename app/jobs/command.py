"""`marrowscope batch` as a child process of the service."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from app.jobs.batch import Batch
from app.jobs.folder import PATIENTS, REGIONS, RESULTS, STDERR
from app.settings import Settings

TRY_AGAIN = 75
"""The exit status of a command that waited for its scheduler in vain; EX_TEMPFAIL of sysexits.h."""
ROOT = Path(__file__).parents[2]
"""The folder from which the package is imported."""
MAX_STDERR_BYTES = 4000


def batch_command(settings: Settings) -> Callable[[Batch, Path], list[str]]:
    """Return a function that makes the command for a batch and its folder.

    Args:
        settings: they say which workers the command uses; it reads the other settings from the environment.
    """

    def command(batch: Batch, folder: Path) -> list[str]:
        parameters = batch.order.parameters
        options = {
            "--out": folder / RESULTS,
            "--bundle": parameters.bundle,
            "--precision": parameters.precision,
            "--mpp": parameters.mpp,
            "--frame": parameters.frame,
            "--map": parameters.map,
            "--regions": folder / REGIONS if parameters.regions else None,
            "--patients": folder / PATIENTS if parameters.patients else None,
            "--workers": settings.batch_workers,
            "--scheduler": settings.scheduler,
        }
        given = [part for name, value in options.items() if value is not None for part in (name, str(value))]
        return [sys.executable, "-m", "app", "batch", batch.order.argument, *given]

    return command


class RunningCommand:
    """A running command, in a session of its own, so that Ctrl-C on the service's terminal does not reach it.

    Args:
        command: the absolute path of the program, and its arguments.
        folder: the folder of the batch; it keeps what the command writes to stderr.

    Raises:
        OSError: the command cannot be started.
    """

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._folder = folder
        # The child must import this package, not one that lies in the current folder by chance.
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", "TYPER_USE_RICH": "0"}
        launched = [sys.executable, "-m", "app.jobs.launch", str(os.getpid()), *command]
        with (folder / STDERR).open("wb") as stderr:
            self._process = subprocess.Popen(  # noqa: S603 - no shell, and the paths in it are absolute
                launched,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=environment,
                start_new_session=True,
            )

    def poll(self) -> int | None:
        """Return its exit status, negative for the signal that killed it; None while it runs."""
        return self._process.poll()

    def stop(self, patience_s: float) -> None:
        """End the command and all processes that it started: SIGTERM first, then SIGKILL.

        Args:
            patience_s: the time that it has to end after SIGTERM, in seconds.
        """
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_s)
        # Processes that the command started may outlive it.
        self._signal(signal.SIGKILL)
        self._process.wait()

    def stderr(self) -> str:
        """Return the end of what the command wrote to stderr, with paths relative to its folder."""
        with (self._folder / STDERR).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - MAX_STDERR_BYTES))
            return file.read().decode(errors="replace").replace(f"{self._folder}/", "")

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
