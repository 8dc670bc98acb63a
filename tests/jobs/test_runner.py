import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import pytest

from app.jobs import runner as runner_module
from app.jobs.folder import RESULTS
from app.jobs.progress import ProgressFile
from app.jobs.runner import MAX_LOST, outcome
from tests.conftest import REPOSITORY
from tests.jobs.orders import new_batch
from tests.processes import is_alive, started, wait_until_gone
from tests.waiting import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a service on Windows runs no batches")


@pytest.fixture
def put(file_store, tmp_path):
    """Have a batch wait: `put(source)`, which says what the stand-in does."""

    def put(source, **changes):
        batch = replace(new_batch(source), **changes)
        (tmp_path / batch.id).mkdir()
        file_store.add(batch)
        return batch

    return put


@pytest.fixture
def ended(file_store):
    """`ended(batch)`: the batch when nothing more comes of it."""
    return lambda batch: until(lambda: (found := file_store.get(batch.id)).ended and found)


def starts(folder):
    """Process ids of the commands that worked on a batch."""
    path = folder / "starts.txt"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


@pytest.mark.parametrize(
    ("source", "state", "detail", "n_done"),
    [
        ("finish", "finished", None, 2),
        ("partly", "finished", None, 1),
        ("refused", "failed", "there is no slide in refused.", 1),
        ("broken", "failed", "ended unexpectedly, with status 1", 1),
        ("killed", "failed", "killed by signal 9", 1),
        ("cut off", "failed", "No Dask scheduler answers", 1),
    ],
)
def test_command_that_ends_is_understood(run_on, put, ended, source, state, detail, n_done):
    batch = put(source)
    run_on()
    found = ended(batch)
    assert (found.state, found.progress.slides_done) == (state, n_done)
    assert found.detail == detail or detail in found.detail
    assert found.started <= found.ended
    assert [failure.slide for failure in found.progress.failures] == (["b"] if source == "partly" else [])


def test_batches_are_done_one_after_the_other(run_on, put, ended):
    batches = [put("finish") for _ in range(3)]
    run_on()
    found = [ended(batch) for batch in batches]
    for before, after in pairwise(found):
        assert before.ended <= after.started


@pytest.mark.parametrize("source", ["wait", "stubborn"])
def test_cancelled_batch_ends_with_its_command(run_on, put, ended, file_store, tmp_path, monkeypatch, source):
    monkeypatch.setattr(runner_module, "CANCEL_S", 0.5)
    batch = put(source)
    run_on()
    until(lambda: file_store.get(batch.id).progress.slides_done)
    (pid,) = starts(tmp_path / batch.id)
    file_store.cancel(batch.id)
    assert ended(batch).state == "cancelled"
    assert not is_alive(pid)


def test_service_that_ends_stops_its_command_and_the_next_one_goes_on(run_on, put, ended, file_store, tmp_path):
    batch = put("wait")
    first = run_on()
    until(lambda: file_store.get(batch.id).progress.slides_done)
    first.close()
    (pid,) = starts(tmp_path / batch.id)
    assert not is_alive(pid)
    assert file_store.get(batch.id).state == "queued"
    run_on()
    until(lambda: len(starts(tmp_path / batch.id)) == 2)


def test_command_of_a_killed_service_is_waited_for(run_on, put, ended, tmp_path, monkeypatch):
    """Where nothing ends an orphan, its lock keeps a second command from the same folder."""
    batch = put("finish")
    results = tmp_path / batch.id / RESULTS
    results.mkdir()
    hold = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); print(); time.sleep(600)"
    )
    with started([sys.executable, "-c", hold, results / ".lock"], stdout=subprocess.PIPE) as orphan:
        orphan.stdout.readline()
        looked = count_looks(monkeypatch)
        run_on()
        until(lambda: len(looked) > 3)
        assert starts(tmp_path / batch.id) == []
    assert ended(batch).state == "finished"


def count_looks(monkeypatch):
    """List what the runner finds whenever it looks whether a folder is locked."""
    looked, is_locked = [], runner_module.is_locked

    def look(results):
        looked.append(is_locked(results))
        return looked[-1]

    monkeypatch.setattr(runner_module, "is_locked", look)
    return looked


def test_batch_that_takes_the_service_down_again_and_again_is_given_up(run_on, put, ended):
    batch = put("finish", n_lost=MAX_LOST)
    run_on()
    found = ended(batch)
    assert (found.state, found.detail) == ("failed", f"The service died {MAX_LOST} times while this batch ran.")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends the children of a process that is killed")
def test_command_ends_with_a_service_that_is_killed(tmp_path):
    service_code = (
        "import sys, time; from pathlib import Path; from app.jobs.command import RunningCommand;"
        "RunningCommand([sys.executable, *sys.argv[1:]], Path(sys.argv[3])); time.sleep(600)"
    )
    command_code = (
        "import os, sys, time; from pathlib import Path; folder = Path(sys.argv[1]);"
        "(folder / 'new').write_text(f'{os.getpid()} {os.nice(0)}'); (folder / 'new').rename(folder / 'begun');"
        "time.sleep(600)"
    )
    command = [sys.executable, "-c", service_code, "-c", command_code, tmp_path]
    with started(command, cwd=REPOSITORY) as service:
        # Only the command itself writes this: until then, the child may still be a copy of the service.
        until((tmp_path / "begun").exists)
        pid, niceness = map(int, (tmp_path / "begun").read_text().split())
        assert niceness >= 10, "requests come first"
        assert is_alive(pid)
        service.send_signal(signal.SIGKILL)
        wait_until_gone([pid])


def test_status_1_without_a_finished_run_is_a_failure():
    """So does Python end when a program breaks, and so do the commands when they refuse."""
    progress = ProgressFile(state="running", slides=2)
    assert outcome(1, progress, "Error: no")[0] == outcome(0, None, "")[0] == "failed"
    assert "secret" not in outcome(1, progress, "Traceback…\nValueError: secret")[1]
