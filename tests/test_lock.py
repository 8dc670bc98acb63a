"""The lock of a folder: one process holds it, until it lets go or dies."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from filelock import lock_descriptor

from app.lock import LOCK, FolderLocked, is_locked, lock_folder, turn_in
from tests.conftest import REPOSITORY
from tests.processes import started
from tests.waiting import PATIENCE_S

HOLD = """
import sys
from pathlib import Path
from app.lock import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
FLOCK = """
import fcntl, sys
file = open(sys.argv[1] + "/.lock", "a")
fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_by_another(folder, program=HOLD):
    """A process that holds the lock; it is killed at the end."""
    command = [sys.executable, "-c", program, folder]
    with started(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process


def test_folder_is_made_and_locked_by_one_at_a_time(tmp_path):
    folder = tmp_path / "new" / "run"
    assert not is_locked(folder)
    for _ in range(2):
        with lock_folder(folder):
            assert is_locked(folder)
            with pytest.raises(FolderLocked, match="Another process is at work in"), lock_folder(folder):
                pass
            assert is_locked(folder)
        assert not is_locked(folder)


def test_looking_at_a_folder_makes_nothing(tmp_path):
    assert not is_locked(tmp_path / "nothing")
    assert not is_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_lock_ends_with_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), lock_folder(tmp_path):
        raise KeyboardInterrupt
    assert not is_locked(tmp_path)


def test_lock_ends_with_a_process_that_is_killed(tmp_path):
    with held_by_another(tmp_path) as other:
        assert is_locked(tmp_path)
        with pytest.raises(FolderLocked), lock_folder(tmp_path):
            pass
        other.kill()
        other.wait(PATIENCE_S)
        assert (tmp_path / LOCK).exists()
        assert not is_locked(tmp_path)
        with lock_folder(tmp_path):
            pass


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock")
def test_command_of_an_earlier_version_still_holds_its_folder(tmp_path):
    """Earlier versions locked the same file by flock."""
    with held_by_another(tmp_path, FLOCK):
        assert is_locked(tmp_path)
        with pytest.raises(FolderLocked), lock_folder(tmp_path):
            pass


@pytest.mark.skipif(os.name != "posix", reason="a folder cannot be locked there")
def test_turns_come_one_after_the_other_and_leave_nothing(tmp_path):
    within, most = [], []

    def work(number):
        with turn_in(tmp_path):
            within.append(number)
            most.append(len(within))
            (tmp_path / "file").write_text(str(number))
            (tmp_path / "file").unlink()
            within.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(50)))
    assert (max(most), len(most), list(tmp_path.iterdir())) == (1, 50, [])


@pytest.mark.skipif(os.name != "posix", reason="a folder cannot be locked there")
def test_turn_of_a_killed_process_ends(tmp_path):
    with held_by_another(tmp_path, HOLD.replace("lock_folder", "turn_in")):
        descriptor = os.open(tmp_path, os.O_RDONLY)
        assert not lock_descriptor(descriptor, blocking=False)
    with turn_in(tmp_path):
        assert not lock_descriptor(descriptor, blocking=False)
    os.close(descriptor)
