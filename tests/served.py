"""The service as its user starts it: a process of its own."""

import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.conftest import REPOSITORY

PATIENCE_S = 60


@contextmanager
def served(processes=1, **settings):
    """`marrowscope serve` on a port of the system's choice: the process and its address; ended afterwards.

    Settings are those of the environment, without their prefix and in lower case. What the service says goes to a file,
    which `process.stderr` reads: a pipe that nobody empties would stop it.
    """
    names = {f"MARROWSCOPE_{name}".upper(): str(value) for name, value in {"threads": 1, **settings}.items()}
    command = [sys.executable, "-m", "app", "serve", "--port", "0", "--processes", str(processes)]
    with TemporaryDirectory() as folder, (Path(folder) / "said").open("w+b") as said:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env={**os.environ, **names}, stdout=subprocess.DEVNULL, stderr=said
        )
        with Path(said.name).open(encoding="utf-8") as process.stderr:
            try:
                yield process, _address(process)
            finally:
                if processes > 1:
                    # Killed, it would leave the others behind.
                    process.terminate()
                    process.wait(PATIENCE_S)
                process.kill()
                process.wait()


def _address(process):
    heard, end = "", time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < end:
        heard += process.stderr.read()
        if found := re.search(r"running on (http://[\d.]+:\d+) ", heard):
            return found[1]
        time.sleep(0.02)
    raise AssertionError("The service did not start:\n" + heard + process.stderr.read())
