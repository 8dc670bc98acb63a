"""`python -m reliability soak`: 16 clients for half an hour, and nothing is lost, wrong or left behind."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.process import rss_mb
from bench.server import Server
from bench.soak import WARM_UP, drift
from reliability.requests_mix import MAX_BYTES, mix
from reliability.serving import serving
from reliability.soak_client import Tally, ask_alone, under_load
from reliability.soak_wire import address_of

QUICK_MINUTES = 0.3
TICK_S = 0.25
ROWS = 10
"""Lines of the table over time."""
SETTLE_S = 7
"""After which the server has closed the connections, and given up the threads, that nobody uses."""
# Fewer places than clients, so that some are told to come again.
SETTINGS = {"MARROWSCOPE_WORKERS": "2", "MARROWSCOPE_QUEUE": "10", "MARROWSCOPE_MAX_BYTES": str(MAX_BYTES)}


@dataclass
class Watch:
    """The server's memory, files and threads over time, and what the clients had got by then."""

    pid: int
    tally: Tally
    start: float = field(default_factory=perf_counter)
    samples: list[dict[str, Any]] = field(default_factory=list)

    def look(self) -> None:
        """Note how things stand."""
        tally = self.tally
        self.samples.append(
            {
                "minute": (perf_counter() - self.start) / 60,
                "right": tally.right,
                "retried": tally.retried,
                "hung_up": tally.hung_up,
                "wrong": len(tally.wrong),
                "lost": len(tally.lost),
                "rss_mb": rss_mb(self.pid),
                **held(self.pid),
            }
        )

    def table(self) -> list[dict[str, Any]]:
        """A few of them, at equal distances in time, the last one included; memory as the median up to each."""
        rows, begin = [], 0
        for number in range(1, ROWS + 1):
            end = round(len(self.samples) * number / ROWS)
            if end > begin:
                memory = [sample["rss_mb"] for sample in self.samples[begin:end] if sample["rss_mb"] is not None]
                rows.append({**self.samples[end - 1], "rss_mb": statistics.median(memory) if memory else None})
            begin = end
        return rows


def held(pid: int) -> dict[str, int | None]:
    """Open files and threads of a process; None where there is no /proc."""
    counts: dict[str, int | None] = {}
    for name, folder in (("files", "fd"), ("threads", "task")):
        try:
            counts[name] = len(list(Path(f"/proc/{pid}/{folder}").iterdir()))
        except OSError:
            counts[name] = None
    return counts


def measure(*, quick: bool, minutes: float = 30, clients: int = 16, seed: int = 0) -> dict[str, Any]:
    """Good and bad requests at once, and what became of them.

    Args:
        quick: half a minute, whatever `minutes` says.
        minutes: of the load, of which the first fifth is the warm-up.
        clients: how many at once.
        seed: of what they ask.

    Returns:
        Counts of answers; memory in MB; open files and threads after the warm-up and at the end, when all is quiet.
    """
    seconds = 60 * (QUICK_MINUTES if quick else minutes)
    with serving(**SETTINGS) as server:
        return _soak(server, seconds, clients, seed)


def _soak(server: Server, seconds: float, clients: int, seed: int) -> dict[str, Any]:
    address, cases, tally = address_of(server.url), mix(), Tally()
    expected = ask_alone(address, cases)
    watch = Watch(server.pid, tally)

    def load(share: float, phase: int) -> dict[str, int | None]:
        end = perf_counter() + seconds * share
        with under_load(address, cases, expected, tally, clients=clients, seed=2 * seed + phase):
            while perf_counter() < end:
                watch.look()
                time.sleep(TICK_S)
        time.sleep(SETTLE_S)
        return held(server.pid)

    before, after = load(WARM_UP, 0), load(1 - WARM_UP, 1)
    memory = drift([sample["rss_mb"] for sample in watch.samples if sample["rss_mb"] is not None])
    return {
        "minutes": seconds / 60,
        "clients": clients,
        "cases": len(cases),
        "seed": seed,
        **figures(tally),
        "memory": memory,
        "files": {"after_warm_up": before["files"], "at_the_end": after["files"]},
        "threads": {"after_warm_up": before["threads"], "at_the_end": after["threads"]},
        "over_time": watch.table(),
    }


def figures(tally: Tally) -> dict[str, Any]:
    """What became of the requests, in numbers; the first few that went wrong by name."""
    times = sorted(tally.seconds)

    def milliseconds(share: float) -> float | None:
        return 1000 * times[min(len(times) - 1, int(share * len(times)))] if times else None

    return {
        "requests": tally.right + len(tally.wrong) + len(tally.lost) + tally.hung_up,
        "statuses": {str(status): n for status, n in sorted(tally.statuses.items())},
        "right": tally.right,
        "wrong": len(tally.wrong),
        "lost": len(tally.lost),
        "hung_up": tally.hung_up,
        "busy_and_asked_again": tally.retried,
        "p50_ms": milliseconds(0.5),
        "p95_ms": milliseconds(0.95),
        "max_ms": milliseconds(1),
        "what_went_wrong": [*tally.wrong[:5], *tally.lost[:5]],
    }
