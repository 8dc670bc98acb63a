"""The service in a broken surrounding: it may never be ready, lack what it needs, or be hurt while it runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic, sleep

from bench.child import ROOT, clean_environment
from bench.server import PATIENCE_S
from reliability.soak_wire import Address, address_of

ADDRESS = re.compile(r"running on (http://[\d.]+:\d+)")
POLL_S = 0.02
END_S = 40
"""Seconds in which a server that is told to end does so: it has 30 for what it has begun."""


@dataclass
class Started:
    """A server that listens, ready or not.

    Attributes:
        process: of the command.
        address: where it listens.
        said: lines of its log so far.
    """

    process: subprocess.Popen[str]
    address: Address
    said: list[str] = field(default_factory=list)


@contextmanager
def started(*options: str, before: Callable[[], None] | None = None, **environment: str) -> Iterator[Started]:
    """`marrowscope serve` on a free port, ended afterwards.

    Args:
        options: of the command.
        before: called in the new process, to limit it.
        environment: beside `bench.child.clean_environment`.

    Raises:
        RuntimeError: it does not listen; the text is what it said.
    """
    command = [sys.executable, "-m", "app", "serve", "--port", "0", *options]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        # Where a log is read by a program it may have another form.
        env={**clean_environment(), **environment},
        stdout=subprocess.DEVNULL,
        # No file: a full disk must not be the end of the log.
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
    )
    said: list[str] = []
    reader = threading.Thread(target=_read, args=(process, said), daemon=True)
    reader.start()
    try:
        yield Started(process, _listening(process, said), said)
    finally:
        _end(process)
        reader.join()
        if process.stderr is not None:
            process.stderr.close()


def wait_until(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> float:
    """Seconds until it was so.

    Raises:
        RuntimeError: it never was.
    """
    start = monotonic()
    while not condition():
        if monotonic() > start + patience_s:
            raise RuntimeError(f"{condition.__name__} was still false after {patience_s:g} s.")
        sleep(POLL_S)
    return monotonic() - start


def workers_of(server: Started) -> list[int]:
    """Process ids of the workers of `--processes`, as the Linux kernel knows them."""
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(server.process.pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if "spawn_main" in line]


def _listening(process: subprocess.Popen[str], said: list[str]) -> Address:
    def has_begun() -> bool:
        return process.poll() is not None or any(ADDRESS.search(line) for line in said)

    try:
        wait_until(has_begun)
        return next(address_of(found[1]) for line in said if (found := ADDRESS.search(line)))
    except (RuntimeError, StopIteration) as error:
        raise RuntimeError("The service does not listen:\n" + "".join(said)[-2000:]) from error


def _read(process: subprocess.Popen[str], said: list[str]) -> None:
    assert process.stderr is not None
    said.extend(iter(process.stderr.readline, ""))


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def path_with(folder: str) -> str:
    """PYTHONPATH with a folder whose modules are found before the installed ones."""
    return os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH", "")]))
