"""The audit log as a file: what cannot be done to it unseen, and what it survives."""

import fcntl
import json
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.audit.log import AuditLog, NotWritten, locked
from app.audit.rotate import rotate
from app.audit.verify import verify
from tests.conftest import REPOSITORY
from tests.processes import ended, started
from tests.waiting import PATIENCE_S


def written(path, n=6):
    log = AuditLog(path)
    log.open()
    for i in range(n):
        log.append({"event": "test", "number": i})
    return log


@pytest.fixture
def path(tmp_path):
    return tmp_path / "logs" / "audit.jsonl"


def faults(*paths):
    return [(finding.line, finding.text) for finding in verify(paths).findings if finding.is_fault]


def notes(*paths):
    return [finding.text for finding in verify(paths).findings if not finding.is_fault]


def test_only_its_owner_can_read_a_log_and_it_is_intact(path):
    written(path)
    assert path.stat().st_mode & 0o777 == 0o600
    report = verify([path])
    assert (report.is_intact, report.findings, report.n_lines) == (True, [], 6)
    assert [json.loads(line)["number"] for line in path.read_bytes().splitlines()] == list(range(6))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_byte_before_the_last_line_can_be_changed_unseen(tmp_path, data):
    path = tmp_path / "audit.jsonl"
    path.unlink(missing_ok=True)
    written(path, 4)
    text = bytearray(path.read_bytes())
    end = text.rindex(b"\n", 0, -1)
    at = data.draw(st.integers(0, end))
    text[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(text)
    assert faults(path)


@pytest.mark.parametrize("line", range(5))
def test_a_line_that_is_removed_is_missed(path, line):
    written(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:line] + lines[line + 1 :]))
    ((found, text),) = faults(path)
    assert found == line + 1
    assert ("1 line is missing" if line else "it is line 2 of the log") in text


def test_a_line_that_is_inserted_with_the_right_hash_is_found(path, tmp_path):
    written(path)
    lines = path.read_bytes().splitlines(keepends=True)
    forged = tmp_path / "forged"
    forged.write_bytes(b"".join(lines[:3]))
    AuditLog(forged).append({"event": "never happened"})
    path.write_bytes(forged.read_bytes() + b"".join(lines[3:]))
    assert [(line, "inserted" in text) for line, text in faults(path)] == [(5, True)]


def test_lines_that_change_places_are_found(path):
    written(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[3], lines[2], *lines[4:]]))
    assert faults(path)


@pytest.mark.parametrize("kept", [1, 40, -1])
@pytest.mark.parametrize("n", [1, 3])
def test_after_a_power_cut_the_half_line_stays_and_the_chain_goes_on(path, n, kept, caplog):
    log = written(path, n)
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1 if n > 1 else 0
    cut = whole[: last + len(b'{"line":') + kept] if kept > 0 else whole[:-1]
    path.write_bytes(cut)
    assert [line for line, _ in faults(path)] == [n]
    log.open()
    assert log.failure is None
    assert "cut short" in caplog.text
    log.append({"event": "after"})
    log.append({"event": "and on"})
    assert path.read_bytes().startswith(cut + b"\n")
    assert faults(path) == []
    (note,) = notes(path)
    assert "cut short while it was written" in note
    text = bytearray(path.read_bytes())
    text[len(cut) - 1] ^= 1
    path.write_bytes(text)
    assert faults(path), "the half line is part of the chain"


def append_many(path, name):
    for i in range(40):
        AuditLog(path).append({"event": name, "number": i})


APPEND_MANY = """
import sys
from pathlib import Path
from app.audit import log
from app.audit.log import AuditLog
log.LOCK_LIMIT_S = float(sys.argv[3])
print("begins", flush=True)
sys.stdin.readline()
for i in range(40):
    AuditLog(Path(sys.argv[1])).append({"event": sys.argv[2], "number": i})
"""


def test_processes_and_threads_share_a_log(path, monkeypatch):
    monkeypatch.setattr("app.audit.log.LOCK_LIMIT_S", PATIENCE_S)
    written(path, 0)
    command = [sys.executable, "-c", APPEND_MANY, path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with ExitStack() as stack:
        processes = [
            stack.enter_context(started([*command, f"process {i}", PATIENCE_S], cwd=REPOSITORY, **pipes))
            for i in range(2)
        ]
        for process in processes:
            assert process.stdout.readline() == "begins\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda i: append_many(path, f"thread {i}"), range(4)))
        for process in processes:
            found = ended(process)
            assert found.returncode == 0, found.stderr
    report = verify([path])
    assert (report.findings, report.n_lines) == ([], 6 * 40)


def test_a_new_file_goes_on_with_the_old_one_while_it_is_written(path, monkeypatch):
    monkeypatch.setattr("app.audit.log.LOCK_LIMIT_S", PATIENCE_S)
    log = written(path)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(append_many, path, "meanwhile")
        old = rotate(path)
        writing.result()
    log.append({"event": "after"})
    report = verify([old, path])
    assert (report.findings, report.n_lines) == ([], 6 + 40 + 1 + 1)
    assert path.stat().st_mode & 0o777 == 0o600
    (note,) = notes(path)
    assert "not given" in note
    old.write_bytes(b"".join(old.read_bytes().splitlines(keepends=True)[:-1]))
    assert "missing" in faults(old, path)[0][1]


@pytest.mark.parametrize("content", [b"root:x:0:0\n", b'{"line": 1}\n', b"no end"])
def test_a_file_that_is_no_log_is_left_alone(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    log = AuditLog(path)
    log.open()
    assert "not an audit log" in log.failure
    with pytest.raises(NotWritten, match="not an audit log"):
        log.append({"event": "test"})
    assert path.read_bytes() == content


def test_a_log_that_was_taken_away_is_not_begun_anew(path):
    log = written(path)
    path.unlink()
    for write in (log.check, lambda: log.append({"event": "test"}), log.check):
        with pytest.raises(NotWritten, match="No such file"):
            write()
    assert not path.exists()


def test_a_full_disk_leaves_no_half_line(path, monkeypatch):
    log = written(path)
    before, write = path.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:20]))
    with pytest.raises(NotWritten, match="No space left"):
        log.append({"event": "test"})
    assert path.read_bytes() == before
    monkeypatch.undo()
    log.check()
    assert "No space left" in json.loads(path.read_bytes().splitlines()[-1])["reason"]
    assert (log.failure, faults(path)) == (None, [])


def test_a_log_that_another_process_keeps_is_given_up(path, monkeypatch):
    log = written(path)
    monkeypatch.setattr("app.audit.log.LOCK_LIMIT_S", 0.05)
    with locked(path), pytest.raises(NotWritten, match="kept it locked"):
        log.append({"event": "test"})
    log.append({"event": "test"})
    assert faults(path) == []


def test_a_service_of_an_earlier_version_is_waited_for(path, monkeypatch):
    """It locks the log by flock."""
    log = written(path)
    monkeypatch.setattr("app.audit.log.LOCK_LIMIT_S", 0.05)
    with path.open("rb") as earlier:
        fcntl.flock(earlier, fcntl.LOCK_EX)
        with pytest.raises(NotWritten, match="kept it locked"):
            log.append({"event": "test"})
    log.append({"event": "test"})
    assert faults(path) == []


def test_the_chain_is_found_again_behind_a_long_log(path):
    log = written(path, 0)
    filler = {"event": "x" * 4000}
    for _ in range(80):
        log.append(filler)
    # Wherever the part that is read begins: in a line, at its end.
    for n in random.Random(1).sample(range(4000), 5):
        log.append({"event": "x" * n})
    assert faults(path) == []
