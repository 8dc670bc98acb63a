"""`python -m reliability fuzz`: damaged tiles, wrong forms and odd queries, over HTTP to a real server and in process.

Every case is made from its number alone: the same command sends the same bytes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from bench.child import ROOT, clean_environment
from bench.process import peak_rss_mb, rss_mb
from reliability.corpus_files import read_corpus
from reliability.fuzz_client import Answer, Judge, send
from reliability.fuzz_files import rng_of
from reliability.fuzz_requests import SHARES, Ask, ask, post
from reliability.serving import SAMPLE, Server, serving, stable

SEED = 0
CLIENTS = 4
BLOCK = 500
"""Cases between two looks at whether a good tile still has its answer."""
QUICK_CASES = 1_000
INSIDE = 5
"""Cases in process for each one over HTTP."""
GROWTH_MB = 400
"""Most memory beyond that before the first case: a few kB may become a tile of some million pixels, no more."""
MOST_FAULTS = 20


def measure(*, quick: bool, cases: int = 20_000) -> dict[str, Any]:
    """Send all of the cases, then put others through the pipeline.

    Args:
        quick: QUICK_CASES in place of `cases`.
        cases: over HTTP; INSIDE times as many go through the pipeline in process.

    Returns:
        Of either way: cases, outcomes, faults (none is what is promised), longest answer, memory.
    """
    wanted = QUICK_CASES if quick else cases
    over_http = _over_http(wanted)
    inside = _inside(wanted * INSIDE)
    faults = [*over_http.pop("faults"), *inside.pop("faults"), *_grown(over_http), *_grown(inside)]
    return {
        "over_http": [over_http],
        "in_process": [inside],
        "cases": over_http["cases"] + inside["cases"],
        "faults": len(faults),
        "what": "; ".join(faults[:MOST_FAULTS]) or None,
    }


def _over_http(cases: int) -> dict[str, Any]:
    """All of the cases, BLOCK by BLOCK."""
    corpus, sample = read_corpus(), post(SAMPLE.read_bytes())
    statuses: dict[str, Counter[str]] = {kind: Counter() for kind in SHARES}
    faults: list[str] = []
    longest, right, checks = 0.0, 0, 0
    with serving() as server, ThreadPoolExecutor(CLIENTS) as clients:
        port, judge = int(server.url.rpartition(":")[2]), Judge(httpx.get(f"{server.url}/openapi.json").json())
        expected = stable(send(port, sample, judge).body)
        before = rss_mb(server.pid)
        for block in _blocks(cases):
            asked = [ask(corpus, rng_of(SEED, case)) for case in block]
            answers = list(clients.map(lambda one: send(port, one, judge), asked))
            _count(statuses, asked, answers)
            longest = max(longest, *(answer.seconds for answer in answers))
            faults += [f"HTTP case {case}: {one.fault}" for case, one in zip(block, answers, strict=True) if one.fault]
            checks += 1
            right += _is_right(send(port, sample, judge), expected)
            if not _lives(server):
                faults.append(f"the server died within the cases {block.start} to {block.stop - 1}")
                break
        memory = {"before": before, "peak": peak_rss_mb(server.pid), "after": rss_mb(server.pid)}
    if right < checks:
        faults.append(f"a good tile had its answer {right} of {checks} times")
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


def _count(statuses: dict[str, Counter[str]], asked: Sequence[Ask], answers: Sequence[Answer]) -> None:
    for one, answer in zip(asked, answers, strict=True):
        statuses[one.kind][str(answer.status or "none due")] += 1


def _is_right(answer: Answer, expected: Any) -> bool:
    return answer.status == 200 and stable(answer.body) == expected


def _lives(server: Server) -> bool:
    return rss_mb(server.pid) is not None


def _grown(found: Mapping[str, Any]) -> list[str]:
    """A fault where the memory has grown beyond GROWTH_MB; none where it cannot be read."""
    memory = found.get("rss_mb") or {}
    if None in memory.values() or not memory or memory["peak"] - memory["before"] < GROWTH_MB:
        return []
    return [f"memory grew from {memory['before']:.0f} MB to {memory['peak']:.0f} MB, {GROWTH_MB} more are allowed"]


def _inside(cases: int) -> dict[str, Any]:
    """The cases in a process of its own; one that kills it is a fault, and it goes on behind that."""
    with tempfile.TemporaryDirectory() as folder:
        progress = Path(folder) / "case"
        command = [sys.executable, "-m", "reliability.fuzz_inside", "0", str(cases), str(progress)]
        # libtiff says on stderr what is wrong with a file.
        done = subprocess.run(
            command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
        )
        if done.returncode == 0:
            found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            return found
        at = int(progress.read_bytes())
    return {"cases": at, "faults": [f"case {at} in process ended it with status {done.returncode}"]}
