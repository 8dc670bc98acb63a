"""Faults of resources: the disk is full, memory runs out, and no more files may be opened.

The kernel's limits on a process cause them (setrlimit(2)): no file can grow beyond RLIMIT_FSIZE, the address space not
beyond RLIMIT_AS, and no more files can be open than RLIMIT_NOFILE.
"""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import ROOT
from bench.process import clean_environment, rss_mb
from bench.tiles import drawn, mirrored, to_png
from reliability.faults.service import (
    OK,
    READY,
    UNAVAILABLE,
    Healthy,
    Started,
    ask,
    detail,
    finding,
    is_ready,
    seconds_until_ready,
    started,
)
from reliability.normal_client import SAMPLE
from reliability.soak.requests import Case, encoded, post

AUDIT_BYTES = 5_000
"""Enough for a few lines of the audit log."""
ANSWER_BYTES = 250_000
"""Enough for the CSV of the sample, and too little for its JSON."""
MOST_TILES = 100
LARGE_PX = 2_800
"""Side of a tile whose analysis takes half a gigabyte."""
ROOM_MB = (8, 16, 24, 40, 80, 160, 240, 320, 400, 480)
"""Address space that is left when the tile arrives: memory runs out in one stage after another."""
QUICK_ROOM_MB = (8, 24, 320)
EXPECTED = (str(UNAVAILABLE), str(OK), detail(None))
FILES = 64
IDLE = 200
N_AFTER = 5
NO_LIMIT = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def full_after(n_bytes: int) -> Callable[[], None]:
    """Return a function that limits the process in which it is called to files of `n_bytes`."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))


def disk_full_for_uploads(right: Healthy) -> Iterator[dict[str, Any]]:
    """Upload a tile of 4 MB and the sample, of which no byte can be written to disk."""
    large = post("large", encoded(drawn(900, seed=1), "TIFF"))
    with started() as server:
        wanted = ask(server.address, large)
    with started(before=full_after(0)) as server:
        answers = [ask(server.address, large), ask(server.address, right.sample)]
    assert wanted is not None
    n_right = sum(found is not None and found.same == wanted.same for found in answers[:1])
    n_right += right.is_right(answers[1])
    yield finding(
        "disk full: uploads of 4 MB and 0.3 MB",
        "both are answered, because an upload needs no disk",
        ", ".join(str(answer.status) if answer else "lost" for answer in answers),
        kept=n_right == len(answers),
        right=n_right,
        wrong=sum(answer is not None and answer.status == OK for answer in answers) - n_right,
        lost=answers.count(None),
    )


def disk_full_for_audit_log(right: Healthy) -> Iterator[dict[str, Any]]:
    """Fill the disk after a few lines of the audit log, and make room again."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "audit.jsonl"
        with started(before=full_after(AUDIT_BYTES), MARROWSCOPE_AUDIT_LOG=str(log)) as server:
            n_right, refusal, ready = _ask_until_refused(server, right)
            n_logged = len([line for line in log.read_bytes().split(b"\n") if _is_answered(line)])
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, NO_LIMIT)
            is_back = right.is_right(ask(server.address, right.sample)) and is_ready(server.address)
        verified = _verify(log)
    is_refused = all(outcome.startswith(str(UNAVAILABLE)) for outcome in (refusal, ready))
    yield finding(
        "disk full: the audit log cannot grow",
        "503 rather than an answer that is not logged; /readyz gives the reason; the service recovers when there is "
        "room again; the log can be verified",
        f"{n_right} answered, {n_logged} of them logged, then {refusal}; readyz {ready}; verify: status {verified}",
        kept=0 < n_right == n_logged and verified == 0 and is_refused and is_back,
        right=n_right + is_back,
        wrong=0,
        lost=int(refusal == detail(None)),
    )


def disk_full_for_shell() -> Iterator[dict[str, Any]]:
    """Run `marrowscope analyze --out` with a second file that does not fit on the disk."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["analyze", str(SAMPLE), "-f", "csv", "-f", "json", "--out", folder]
        done = subprocess.run(
            [sys.executable, "-m", "app", *command],
            cwd=ROOT,
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=full_after(ANSWER_BYTES),
        )
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    names = sorted(files)
    is_whole = set(names) <= {"sample.csv", "summary.csv"} and all(data.endswith(b"\n") for data in files.values())
    # The name of the temporary folder differs each time and is left out.
    reason = done.stderr.partition("\n")[0].rpartition("/")[2]
    is_named = reason.startswith("sample.json cannot be written")
    yield finding(
        "disk full: marrowscope analyze --out",
        "exit status 1; the error names the file; no half-written file is left",
        f"status {done.returncode}; files left: {', '.join(names)}; error: {reason}",
        kept=done.returncode == 1 and is_whole and is_named,
    )


def memory_runs_out(right: Healthy, *, quick: bool) -> Iterator[dict[str, Any]]:
    """Upload a large tile with less and less address space, and after each the sample without a limit."""
    large = post("large", to_png(mirrored(drawn(900, seed=1), LARGE_PX)))
    outcomes: Counter[str] = Counter()
    n_right, rooms = 0, QUICK_ROOM_MB if quick else ROOM_MB
    with started() as server:
        for room in rooms:
            outcomes[_ask_with_room(room, server, large)] += 1
            n_right += right.is_right(ask(server.address, right.sample))
        is_alive = is_ready(server.address)
        memory = rss_mb(server.process.pid)
    yield finding(
        f"memory runs out {len(rooms)}× in a tile of {LARGE_PX} × {LARGE_PX}",
        "503, or a broken connection if not even the request fits; the service goes on and answers rightly later",
        ", ".join(f"{n}× {outcome}" for outcome, n in outcomes.items()),
        kept=is_alive and n_right == len(rooms) and all(outcome.startswith(EXPECTED) for outcome in outcomes),
        right=n_right,
        wrong=len(rooms) - n_right,
        lost=0,
        broken=outcomes[detail(None)],
        rss_mb=memory,
    )


def files_run_out(right: Healthy) -> Iterator[dict[str, Any]]:
    """Open silent connections until the service may open no more files, and close them again."""
    limit = (FILES, FILES)
    with started(before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limit)) as server:
        seconds_until_ready(server.address)
        with ExitStack() as idle:
            for _ in range(IDLE):
                idle.enter_context(socket.create_connection(server.address))
        seconds = seconds_until_ready(server.address)
        answers = [ask(server.address, right.sample) for _ in range(N_AFTER)]
    n_right, n_lost = sum(map(right.is_right, answers)), answers.count(None)
    yield finding(
        f"{IDLE} silent connections to a service that may open {FILES} files",
        "when they are closed, the service answers rightly again",
        f"ready after {seconds:.1f} s",
        kept=n_right == N_AFTER,
        right=n_right,
        wrong=N_AFTER - n_right - n_lost,
        lost=n_lost,
        seconds=seconds,
    )


def _ask_until_refused(server: Started, right: Healthy) -> tuple[int, str, str]:
    """Return how many tiles were answered rightly, and the answers of /analyze and /readyz once no line fits."""
    n_right, refusal, ready = 0, "never refused", ""
    for _ in range(MOST_TILES):
        answer = ask(server.address, right.sample)
        if right.is_right(answer):
            n_right += 1
            continue
        refusal, ready = detail(answer), detail(ask(server.address, READY))
        # A shorter line, such as that of /readyz, may still fit.
        if not ready.startswith(str(OK)):
            break
    return n_right, refusal, ready


def _is_answered(line: bytes) -> bool:
    """Return whether a line of the log is whole and about an answer."""
    try:
        return bool(json.loads(line)["status"] == OK)
    except (ValueError, KeyError):
        return False


def _verify(log: Path) -> int:
    command = [sys.executable, "-m", "app", "audit", "verify", str(log)]
    return subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, check=False).returncode


def _ask_with_room(room_mb: int, server: Started, case: Case) -> str:
    """Send a request while the service has so much address space left, and lift the limit again."""
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + room_mb * 2**20
    resource.prlimit(server.process.pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    try:
        return detail(ask(server.address, case))
    finally:
        if server.process.poll() is None:
            resource.prlimit(server.process.pid, resource.RLIMIT_AS, NO_LIMIT)
