"""A service to cause faults in, the right answers of a healthy one, and the comparison of promise and outcome."""

from __future__ import annotations

import http.client
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from time import monotonic, sleep
from typing import Any

from bench import ROOT
from bench.process import clean_environment, descendants
from bench.server import ADDRESS, PATIENCE_S
from bench.tiles import drawn, to_png
from reliability.normal_client import SAMPLE
from reliability.soak.clients import Address, Answer, Connection, Expected, Tally, address_of, ask_alone
from reliability.soak.requests import Case, get, post

READY = get("/readyz")
OK, UNAVAILABLE = 200, 503
SAME_CELLS = 0.95
"""Two answers have nearly the same cells if this share of either's is in the other."""
POLL_S = 0.02
END_S = 40
"""Longest wait until a server has ended after SIGTERM; it allows itself 30 s for requests that it has begun."""


@dataclass
class Started:
    """A server that listens, whether it is ready or not.

    Attributes:
        process: process of the command.
        address: host and port on which it listens.
        log: lines of its log so far.
    """

    process: subprocess.Popen[str]
    address: Address
    log: list[str] = field(default_factory=list)


@contextmanager
def started(*options: str, before: Callable[[], None] | None = None, **environment: str) -> Iterator[Started]:
    """Run `marrowscope serve` on a free port, and end it afterwards.

    Args:
        options: further options of the command.
        before: called in the new process before the command starts, to limit its resources.
        environment: variables to set in addition to `clean_environment`.

    Raises:
        RuntimeError: the server does not listen; the message ends with the end of its log.
    """
    command = [sys.executable, "-m", "app", "serve", "--port", "0", *options]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**clean_environment(), **environment},
        stdout=subprocess.DEVNULL,
        # The log goes through a pipe: in a file, it would end when the disk is full.
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
    )
    log: list[str] = []
    reader = threading.Thread(target=_read_log, args=(process, log), daemon=True)
    reader.start()
    try:
        yield Started(process, _wait_for_address(process, log), log)
    finally:
        _end(process)
        reader.join()
        if process.stderr is not None:
            process.stderr.close()


def wait_until(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> float:
    """Wait until a condition is true, and return the seconds that this took.

    Raises:
        RuntimeError: the condition was still false after `patience_s` seconds.
    """
    start = monotonic()
    while not condition():
        if monotonic() > start + patience_s:
            raise RuntimeError(f"{condition.__name__} was still false after {patience_s:g} s.")
        sleep(POLL_S)
    return monotonic() - start


def workers_of(server: Started) -> list[int]:
    """Return the process ids of the workers that `--processes` started."""
    found = []
    for pid in descendants(server.process.pid):
        with suppress(FileNotFoundError):  # it has ended meanwhile
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def path_with(folder: str) -> str:
    """Return a PYTHONPATH in which the modules of a folder come before those that are installed."""
    return os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH", "")]))


def _wait_for_address(process: subprocess.Popen[str], log: list[str]) -> Address:
    def has_begun() -> bool:
        return process.poll() is not None or any(ADDRESS.search(line) for line in log)

    try:
        wait_until(has_begun)
        return next(address_of(found[1]) for line in log if (found := ADDRESS.search(line)))
    except (RuntimeError, StopIteration) as error:
        raise RuntimeError("The service does not listen:\n" + "".join(log)[-2000:]) from error


def _read_log(process: subprocess.Popen[str], log: list[str]) -> None:
    assert process.stderr is not None
    log.extend(iter(process.stderr.readline, ""))


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        workers = descendants(process.pid)
        process.kill()
        process.wait()
        # They outlive their parent, and hold the pipe of the log open.
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@dataclass(frozen=True)
class Healthy:
    """Requests, and their answers by a service without any fault.

    Attributes:
        sample: the sample, answered as JSON.
        exact: the same with the exact network instead of the fast one.
        cases: these two and a drawn tile.
        expected: their right answers, by name.
    """

    sample: Case
    exact: Case
    cases: list[Case]
    expected: Expected

    def is_right(self, answer: Answer | None) -> bool:
        """Return whether an answer is the right one for the sample."""
        return answer is not None and answer.same == self.expected[self.sample.name]

    def has_right_clusters(self, answer: Answer | None) -> bool:
        """Return whether an answer has nearly the cells and clusters of the exact Q, whichever library computed it.

        The network that finds nuclei is in 8-bit integers for ONNX Runtime, and exact for PyTorch. So an outline may
        move a little, and a doubtful nucleus be found by one of them alone.
        """
        if answer is None or answer.status != OK:
            return False
        found, expected = clusters_in(answer.same[2]), clusters_in(self.expected[self.exact.name][2])
        return min(share_in(found, expected), share_in(expected, found)) >= SAME_CELLS


def healthy() -> Healthy:
    """Get the right answers from a service without any fault."""
    file = SAMPLE.read_bytes()
    sample, exact = post("sample", file), post("sample, full precision", file, "?precision=full")
    cases = [sample, exact, post("drawn", to_png(drawn(900, seed=1)[:400, :400]))]
    with started() as server:
        seconds_until_ready(server.address)
        return Healthy(sample, exact, cases, ask_alone(server.address, cases))


def share_in(cells: list[tuple[int, list[float]]], others: list[tuple[int, list[float]]]) -> float:
    """Return for which share of the cells there is another with the same cluster, and its centroid within 1 px."""
    has_same = [
        any(cluster == other and math.dist(centroid, place) <= 1 for other, place in others)
        for cluster, centroid in cells
    ]
    return fmean(has_same) if has_same else 1.0


def clusters_in(answer: Any) -> list[tuple[int, list[float]]]:
    """Return the cluster and the centroid of every cell of a JSON answer."""
    return [(cell["cluster"], cell["centroid"]) for cell in answer["cells"]]


def ask(address: Address, case: Case) -> Answer | None:
    """Send one request on a connection of its own; return None if there is no whole answer."""
    connection = Connection(address)
    try:
        return connection.ask(case)
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def detail(answer: Answer | None) -> str:
    """Return the status of an answer and, if it is a problem, its detail."""
    if answer is None:
        return "no answer"
    body = answer.same[2]
    return f"{answer.status}: {body.get('detail', '') if isinstance(body, Mapping) else ''}"


def is_ready(address: Address) -> bool:
    """Return whether /readyz answers 200."""
    answer = ask(address, READY)
    return answer is not None and answer.status == OK


def seconds_until_ready(address: Address) -> float:
    """Wait until the service is ready, and return the seconds that this took."""

    def it_is_ready() -> bool:
        return is_ready(address)

    return wait_until(it_is_ready)


def finding(fault: str, promised: str, happened: str, *, kept: bool, **figures: Any) -> dict[str, Any]:
    """Return one row of the table.

    Args:
        fault: what was done to the service.
        promised: what the service has to do then.
        happened: what it did.
        kept: whether it kept the promise.
        figures: right, wrong and lost answers, seconds and the like.
    """
    return {"fault": fault, "promised": promised, "happened": happened, "kept": kept, **figures}


def counts(tally: Tally) -> dict[str, int]:
    """Return the figures of a tally for `finding`."""
    return {
        "right": tally.right,
        "wrong": len(tally.wrong),
        "lost": len(tally.lost),
        "asked_again": tally.retried + tally.broken,
    }
