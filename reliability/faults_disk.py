"""A full disk: no file can grow. The kernel's limit on the size of files stands for it (setrlimit(2))."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.child import ROOT, clean_environment
from bench.tiles import drawn
from reliability.faults_case import OK, READY, UNAVAILABLE, Healthy, ask, detail, finding, is_ready
from reliability.faults_server import Started, started
from reliability.requests_mix import encoded, post
from reliability.serving import SAMPLE

AUDIT_BYTES = 5_000
"""Room for a few lines of the audit log."""
ANSWER_BYTES = 40_000
"""Room for the CSV of the sample, and not for its JSON."""
MOST_TILES = 100
NO_LIMIT = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def full_after(n_bytes: int) -> Callable[[], None]:
    """What limits a new process to files of so many bytes."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))


def uploads(right: Healthy) -> Iterator[dict[str, Any]]:
    """A tile of 4 MB, of which no byte can be written to disk."""
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
        "both are answered: an upload needs no disk",
        ", ".join(str(answer.status) if answer else "lost" for answer in answers),
        kept=n_right == len(answers),
        right=n_right,
        wrong=sum(answer is not None and answer.status == OK for answer in answers) - n_right,
        lost=answers.count(None),
    )


def audit_log(right: Healthy) -> Iterator[dict[str, Any]]:
    """The disk is full after a few lines of the audit log, and then has room again."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "audit.jsonl"
        with started(before=full_after(AUDIT_BYTES), MARROWSCOPE_AUDIT_LOG=str(log)) as server:
            n_right, refusal, ready = _ask_until_refused(server, right)
            n_logged = len([line for line in log.read_bytes().split(b"\n") if _is_answered(line)])
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, NO_LIMIT)
            is_back = right.is_right(ask(server.address, right.sample)) and is_ready(server.address)
        verified = _verify(log)
    is_refused = all(said.startswith(str(UNAVAILABLE)) for said in (refusal, ready))
    yield finding(
        "disk full: the audit log cannot grow",
        "503 rather than an answer that is not logged; readyz says why; back when there is room; the log verifies",
        f"{n_right} answered, {n_logged} of them logged, then {refusal}; readyz {ready}; verify: status {verified}",
        kept=0 < n_right == n_logged and verified == 0 and is_refused and is_back,
        right=n_right + is_back,
        wrong=0,
        lost=int(refusal == detail(None)),
    )


def shell_answers() -> Iterator[dict[str, Any]]:
    """`marrowscope analyze --out` whose second file does not fit."""
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
    # Without the folder, which is another one each time.
    reason = done.stderr.partition("\n")[0].rpartition("/")[2]
    said = reason.startswith("sample.json cannot be written")
    yield finding(
        "disk full: marrowscope analyze --out",
        "exit status 1, the file is named, no half-written file stays",
        f"status {done.returncode}; stayed: {', '.join(names)}; said: {reason}",
        kept=done.returncode == 1 and is_whole and said,
    )


def _ask_until_refused(server: Started, right: Healthy) -> tuple[int, str, str]:
    """How many were answered rightly, and what /analyze and /readyz say once no line fits, however short."""
    n_right, refusal, ready = 0, "never refused", ""
    for _ in range(MOST_TILES):
        answer = ask(server.address, right.sample)
        if right.is_right(answer):
            n_right += 1
            continue
        refusal, ready = detail(answer), detail(ask(server.address, READY))
        if not ready.startswith(str(OK)):
            break
    return n_right, refusal, ready


def _is_answered(line: bytes) -> bool:
    """Whether it is a whole line about an answer."""
    try:
        return bool(json.loads(line)["status"] == OK)
    except (ValueError, KeyError):
        return False


def _verify(log: Path) -> int:
    command = [sys.executable, "-m", "app", "audit", "verify", str(log)]
    return subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, check=False).returncode
