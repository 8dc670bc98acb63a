"""Processes that a test starts: each has a limit of time, and none outlives its test."""

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.process import descendants
from tests.waiting import PATIENCE_S, until

PR_SET_CHILD_SUBREAPER = 36
RESOURCE_TRACKER = "multiprocessing.resource_tracker"
"""Python's own helper, which ends with the process that started it."""


@contextmanager
def started(command, **options):
    """Start a command and yield its process; kill it and all that it began when the block is left, however it is left.

    Args:
        command: program and arguments.
        options: of `subprocess.Popen`.
    """
    process = subprocess.Popen([*map(str, command)], start_new_session=True, **options)
    try:
        yield process
    finally:
        kill(process)


def ran(command, limit_s=PATIENCE_S, **options):
    """Run a command to its end and return its exit status, stdout and stderr as text.

    Args:
        command: program and arguments.
        limit_s: seconds after which the command is killed and the test fails.
        options: of `subprocess.Popen`.
    """
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with started(command, **{**pipes, **options}) as process:
        return ended(process, limit_s)


def ended(process, limit_s=PATIENCE_S):
    """Wait until a process with pipes ends by itself; return its exit status, stdout and stderr."""
    try:
        out, err = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired as late:
        raise AssertionError(f"It did not end within {limit_s:g} s: {late.cmd}\n{late.stderr}") from None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def kill(process):
    """Kill a process of `started` and all that it began, and close its pipes."""
    while members := _members(process):
        for pid in members:
            send(pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()


def _members(process):
    """Process ids of a process, its descendants and its session, as far as they live."""
    if not Path("/proc/self").exists():
        return [process.pid] if process.poll() is None else []
    found = {process.pid, *descendants(process.pid)}
    found |= {pid for pid in _all() if _stat(pid)[3:4] == [str(process.pid)]}
    return [pid for pid in found if is_alive(pid)]


def send(pid, number):
    """Send a signal, unless the process has gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def is_alive(pid):
    """Whether a process is there and not a zombie; needs /proc."""
    return _stat(pid)[:1] not in ([], ["Z"])


def wait_until_gone(pids, limit_s=PATIENCE_S):
    """Wait until none of these processes is alive."""
    until(lambda: not any(map(is_alive, pids)), limit_s)


def workers_of(pid):
    """List the processes below another that multiprocessing began."""
    return [child for child in descendants(pid) if "spawn_main" in command_of(child)]


def command_of(pid):
    """Return the command line of a process, empty for one that is gone."""
    return _read(pid, "cmdline").replace("\0", " ").strip()


def adopt_orphans():
    """Let processes whose parent dies become children of this one (Linux), so that `children` finds them."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children():
    """List the living children of this process: process id, the test that began it, and its command line."""
    found = []
    for pid in _all():
        if _stat(pid)[1:2] == [str(os.getpid())] and is_alive(pid):
            command = command_of(pid)
            test = dict(part.split("=", 1) for part in _read(pid, "environ").split("\0") if "=" in part)
            if RESOURCE_TRACKER not in command:
                found.append(f"{pid}, begun in {test.get('PYTEST_CURRENT_TEST', 'no test')}: {command}")
    return found


def _all():
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def _stat(pid):
    """Fields of /proc/PID/stat behind the name: state, parent, group, session and more; none for one that is gone."""
    return _read(pid, "stat").rpartition(")")[2].split()


def _read(pid, name):
    try:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
