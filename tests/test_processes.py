"""The helper that starts the processes of the tests ends them, and no test does without it."""

import re
import signal
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.processes import children, is_alive, ran, send, started, wait_until_gone
from tests.waiting import PATIENCE_S

SLEEPS = "import time; time.sleep(600)"
BEGINS_ANOTHER = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session="own" in sys.argv)
print(child.pid, flush=True)
time.sleep(600 if "waits" in sys.argv else 0)
"""
PIPES = {"stdout": subprocess.PIPE, "text": True}

linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")


@linux
def test_process_and_its_child_end_with_the_block_that_fails():
    command = [sys.executable, "-c", BEGINS_ANOTHER, "waits"]
    with pytest.raises(ZeroDivisionError), started(command, **PIPES) as process:
        child = int(process.stdout.readline())
        raise ZeroDivisionError
    assert not is_alive(process.pid)
    wait_until_gone([child])


@linux
def test_child_ends_with_the_block_where_its_parent_has_ended_before():
    with started([sys.executable, "-c", BEGINS_ANOTHER], **PIPES) as process:
        child = int(process.stdout.readline())
        process.wait(PATIENCE_S)
        assert is_alive(child)
    wait_until_gone([child])


def test_command_that_does_not_end_fails_with_its_name():
    with pytest.raises(AssertionError, match=r"did not end within 0\.5 s"):
        ran([sys.executable, "-c", SLEEPS], 0.5)


def test_what_a_command_writes_is_returned_with_its_status():
    found = ran([sys.executable, "-c", "import sys; print('out'); sys.exit('err')"])
    assert (found.returncode, found.stdout, found.stderr) == (1, "out\n", "err\n")


@linux
def test_process_that_is_left_over_is_found_with_the_test_that_began_it():
    # It is in a session of its own, and its parent has ended: it is found because this process has adopted it.
    with started([sys.executable, "-c", BEGINS_ANOTHER, "own"], **PIPES) as process:
        child = int(process.stdout.readline())
        process.wait(PATIENCE_S)
    try:
        (found,) = [one for one in children() if one.startswith(f"{child}, ")]
        assert "test_process_that_is_left_over" in found
        assert "time.sleep(600)" in found
    finally:
        send(child, signal.SIGKILL)
        wait_until_gone([child])


def test_every_process_of_the_tests_is_started_by_the_helper():
    begins = re.compile(
        r"\b(?:subprocess\.(?:run|Popen|call|check_\w+)|multiprocessing\.|os\.(?:system|popen|fork))\(?"
    )
    mine = {REPOSITORY / "tests" / "processes.py", REPOSITORY / "tests" / "test_processes.py"}
    paths = set((REPOSITORY / "tests").rglob("*.py")) - mine
    assert {path.name for path in paths if begins.search(path.read_text(encoding="utf-8"))} == set()
