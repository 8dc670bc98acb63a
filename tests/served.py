"""The service as its user starts it: a process of its own."""

import os
import re
import subprocess
import sys
from contextlib import contextmanager

from tests.conftest import REPOSITORY


@contextmanager
def served(**settings):
    """`marrowscope serve` on a port of the system's choice: the process and its address; ended afterwards.

    Settings are those of the environment, without their prefix and in lower case.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "serve", "--port", "0"],
        cwd=REPOSITORY,
        env={
            **os.environ,
            **{f"MARROWSCOPE_{name}".upper(): str(value) for name, value in {"threads": 1, **settings}.items()},
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, _address(process)
    finally:
        process.kill()
        process.communicate()


def _address(process):
    heard = []
    for line in process.stderr:
        heard.append(line)
        if found := re.search(r"running on (http://[\d.]+:\d+)", line):
            return found[1]
    raise AssertionError("The service did not start:\n" + "".join(heard))
