"""`marrowscope batch` as a user runs it: as a process with workers of its own."""

import hashlib
import subprocess
import sys

from tests.processes import ran, started

LIMIT_S = 150
"""A batch of a few slides takes about ten seconds on an idle machine."""
COMMAND = (sys.executable, "-m", "app", "batch")


def run(*arguments, expected=0, **options):
    """Run the command to its end, and return what it printed to stdout and stderr."""
    ended = ran([*COMMAND, *arguments], LIMIT_S, **options)
    assert ended.returncode == expected, ended.stderr
    return ended.stdout, ended.stderr


def running(*arguments):
    """Start the command and yield its process; it and its workers are killed when the block is left."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return started([*COMMAND, *arguments], **pipes)


def results(folder):
    """Return the SHA-256 of every file of a batch by its name, so that a failed comparison is short."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
