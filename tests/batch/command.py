"""`marrowscope batch` as a user runs it: a process of its own, with workers of its own."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

from bench.process import descendants

LIMIT_S = 240


def start(*arguments, **options):
    """The command under way."""
    command = [sys.executable, "-m", "app", "batch", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, **options
    )


def run(*arguments, expected=0):
    """What the command said on stdout and stderr, once it has ended as expected."""
    process = start(*arguments)
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == expected, err
    return out, err


@contextmanager
def running(*arguments):
    """The command under way; whatever is left of it is killed at the end."""
    process = start(*arguments)
    try:
        yield process
    finally:
        for pid in [*descendants(process.pid), process.pid]:
            with_pid(pid, signal.SIGKILL)
        process.communicate()


def with_pid(pid, number):
    """Send a signal, unless the process has gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def wait_for(condition, limit_s=LIMIT_S):
    """The first true value of a condition."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def results(folder):
    """SHA-256 of every file of a run by its name, but for the lock: a failed comparison is to be short."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
