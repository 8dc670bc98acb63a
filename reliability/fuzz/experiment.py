"""`python -m reliability fuzz`: damaged tiles, wrong forms and odd queries, over HTTP to a real server and in process.

The bytes of a case follow from its number alone, so the same command always sends the same bytes.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx

from bench import ROOT
from bench.process import clean_environment, peak_rss_mb, rss_mb
from bench.server import Server, serving
from reliability.fuzz.corpus import read_corpus, rng_of
from reliability.fuzz.requests import SHARES, Request, post, random_request
from reliability.normal_client import SAMPLE, stable

SEED = 0
CLIENTS = 4
BLOCK = 500
"""Number of cases after which a good tile is sent, to check that it still gets its answer."""
QUICK_CASES = 1_000
INSIDE = 5
"""Number of cases in process for each one over HTTP."""
GROWTH_MB = 400
"""Memory may grow by this much, because a file of a few kB may become a tile of some million pixels."""
MOST_FAULTS = 20
"""Faults that are described; all are counted."""
PATIENCE_S = 90
"""Longest wait for an answer."""
PROBLEM = "application/problem+json"
UNDECLARED = frozenset({200, 404, 405, 414})
"""Statuses of a path that openapi.json does not have: it may be a file of the page, or not exist."""


@dataclass(frozen=True)
class Answer:
    """What came back for a request.

    Attributes:
        status: HTTP status; None if there was no answer.
        seconds: time from before the connection was made until the end of the answer.
        fault: what the service did wrong; None if nothing.
        body: body of the answer.
    """

    status: int | None
    seconds: float
    fault: str | None
    body: bytes = b""


class Judge:
    """Judges answers by what the service declares.

    Args:
        document: the service's openapi.json.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._paths = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", template)), methods)
            for template, methods in document["paths"].items()
        ]

    def fault(self, request: Request, response: HTTPResponse, body: bytes) -> str | None:
        """Return what is wrong with an answer, or None."""
        status, media_type = response.status, (response.getheader("Content-Type") or "").partition(";")[0]
        if status >= 500:
            return f"status {status}"
        if not request.is_whole:
            return None  # The damage may have made any request of it, and the HTTP parser has an answer of its own.
        if not response.getheader("X-Request-ID"):
            return f"status {status} without X-Request-ID"
        declared = self._declared(request)
        if declared is None:
            return None if status in UNDECLARED else f"status {status} of a path that is not declared"
        if str(status) not in declared:
            return f"status {status}, which is not declared"
        if media_type not in declared[str(status)]["content"]:
            return f"status {status} as {media_type}, which is not declared"
        if media_type == PROBLEM and json.loads(body)["status"] != status:
            return f"a problem of another status than {status}"
        return None

    def _declared(self, request: Request) -> Mapping[str, Any] | None:
        """Return the responses that are declared for the operation; None if there is no such operation."""
        for template, methods in self._paths:
            if template.fullmatch(request.path) and request.method.lower() in methods:
                found: Mapping[str, Any] = methods[request.method.lower()]["responses"]
                return found
        return None


def send(port: int, request: Request, judge: Judge) -> Answer:
    """Send one request, byte for byte, on a connection of its own and wait for the answer.

    Args:
        port: port of the service on 127.0.0.1.
        request: the request.
        judge: judges the answer.
    """
    start = perf_counter()
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
            connection.sendall(request.data)
            if not request.is_whole:
                # The service would wait for the rest. A whole request is not ended like this, because the service
                # takes the end of the stream as a client that has left.
                connection.shutdown(socket.SHUT_WR)
            response = HTTPResponse(connection, method=request.method)
            response.begin()
            body = response.read()
    except (OSError, HTTPException) as error:
        return Answer(None, perf_counter() - start, f"no answer: {error!r}" if request.is_whole else None)
    return Answer(response.status, perf_counter() - start, judge.fault(request, response, body), body)


def measure(*, quick: bool, cases: int = 20_000) -> dict[str, Any]:
    """Send all cases over HTTP, then put other cases through the pipeline in process.

    Args:
        quick: use QUICK_CASES instead of `cases`.
        cases: number of cases over HTTP; INSIDE times as many are analysed in process.

    Returns:
        For both: number of cases, outcomes, the longest answer in seconds, and memory in MB. The number of faults,
        which has to be 0, and a description of the first ones.
    """
    wanted = QUICK_CASES if quick else cases
    over_http = _over_http(wanted)
    inside = _in_process(wanted * INSIDE)
    faults = [*over_http.pop("faults"), *inside.pop("faults"), *_growth(over_http), *_growth(inside)]
    return {
        "over_http": [over_http],
        "in_process": [inside],
        "cases": over_http["cases"] + inside["cases"],
        "faults": len(faults),
        "what": "; ".join(faults[:MOST_FAULTS]) or None,
    }


def _over_http(cases: int) -> dict[str, Any]:
    """Send all cases, block by block."""
    corpus, sample = read_corpus(), post(SAMPLE.read_bytes())
    statuses: dict[str, Counter[str]] = {kind: Counter() for kind in SHARES}
    faults: list[str] = []
    longest, right, checks = 0.0, 0, 0
    with serving() as server, ThreadPoolExecutor(CLIENTS) as clients:
        port, judge = int(server.url.rpartition(":")[2]), Judge(httpx.get(f"{server.url}/openapi.json").json())
        expected = stable(send(port, sample, judge).body)
        before = rss_mb(server.pid)
        for block in _blocks(cases):
            requests = [random_request(corpus, rng_of(SEED, case)) for case in block]
            answers = list(clients.map(lambda request: send(port, request, judge), requests))
            _count(statuses, requests, answers)
            longest = max(longest, *(answer.seconds for answer in answers))
            faults += [f"HTTP case {case}: {one.fault}" for case, one in zip(block, answers, strict=True) if one.fault]
            checks += 1
            right += _is_right(send(port, sample, judge), expected)
            if not _is_alive(server):
                faults.append(f"the server died within the cases {block.start} to {block.stop - 1}")
                break
        memory = {"before": before, "peak": peak_rss_mb(server.pid), "after": rss_mb(server.pid)}
    if right < checks:
        faults.append(f"a good tile got its answer {right} of {checks} times")
    return {
        "cases": cases,
        **{kind: dict(sorted(found.items())) for kind, found in statuses.items()},
        "good_tile_right": f"{right} of {checks}",
        "longest_s": longest,
        "rss_mb": memory,
        "faults": faults,
    }


def _blocks(cases: int) -> Iterator[range]:
    for start in range(0, cases, BLOCK):
        yield range(start, min(start + BLOCK, cases))


def _count(statuses: dict[str, Counter[str]], requests: Sequence[Request], answers: Sequence[Answer]) -> None:
    for request, answer in zip(requests, answers, strict=True):
        statuses[request.kind][str(answer.status or "none due")] += 1


def _is_right(answer: Answer, expected: Any) -> bool:
    return answer.status == 200 and stable(answer.body) == expected


def _is_alive(server: Server) -> bool:
    return rss_mb(server.pid) is not None


def _growth(found: Mapping[str, Any]) -> list[str]:
    """Return a fault if memory grew by more than GROWTH_MB; none where memory cannot be read."""
    memory = found.get("rss_mb") or {}
    if None in memory.values() or not memory or memory["peak"] - memory["before"] < GROWTH_MB:
        return []
    return [f"memory grew from {memory['before']:.0f} MB to {memory['peak']:.0f} MB, {GROWTH_MB} more are allowed"]


def _in_process(cases: int) -> dict[str, Any]:
    """Analyse the cases in a process of its own; a case that kills it is a fault, and the rest is skipped."""
    with tempfile.TemporaryDirectory() as folder:
        progress = Path(folder) / "case"
        command = [sys.executable, "-m", "reliability.fuzz.in_process", "0", str(cases), str(progress)]
        # libtiff describes damaged files on standard error, which is of no use here.
        done = subprocess.run(
            command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
        )
        if done.returncode == 0:
            found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            return found
        at = int(progress.read_bytes())
    return {"cases": at, "faults": [f"case {at} in process ended it with status {done.returncode}"]}
