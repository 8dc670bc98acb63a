"""The service as its user starts it: a process of its own."""

import os
import re
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.conftest import REPOSITORY
from tests.processes import started
from tests.waiting import until


@contextmanager
def served(processes=1, **settings):
    """Run `marrowscope serve` on a port of the system's choice; yield its process and its address.

    Settings are those of the environment, without their prefix and in lower case. The log goes to a file, which
    `process.stderr` reads: a pipe that is not emptied would stop the service.
    """
    names = {f"MARROWSCOPE_{name}".upper(): str(value) for name, value in {"threads": 1, **settings}.items()}
    command = [sys.executable, "-m", "app", "serve", "--port", "0", "--processes", processes]
    environment = {**os.environ, **names}
    with (
        TemporaryDirectory() as folder,
        (Path(folder) / "log").open("w+b") as log,
        Path(log.name).open(encoding="utf-8") as reader,
        started(command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL, stderr=log) as process,
    ):
        process.stderr = reader
        yield process, _address(process)


def _address(process):
    lines = []

    def address():
        is_running = process.poll() is None
        lines.append(process.stderr.read())
        if found := re.search(r"running on (http://[\d.]+:\d+) ", "".join(lines)):
            return found[1]
        assert is_running, "The service did not start:\n" + "".join(lines)
        return None

    return until(address)


@contextmanager
def unserved():
    """Yield an address, without http://, at which nothing answers as long as the block lasts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # without listening: connections are refused, and no other program gets the port
        yield f"127.0.0.1:{taken.getsockname()[1]}"
