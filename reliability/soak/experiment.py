"""`python -m reliability soak`: half an hour of requests from 16 clients; none is lost or wrong, and nothing leaks."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.load import WARM_UP, drift
from bench.process import rss_mb
from bench.server import Server, serving
from reliability.soak.clients import Tally, address_of, ask_alone, under_load
from reliability.soak.requests import MAX_BYTES, mix

QUICK_MINUTES = 0.2
SAMPLE_S = 0.25
ROWS = 10
"""Rows of the table over time."""
SETTLE_S = 7
"""Wait after a load, in which the server closes connections and ends threads that are not used any more."""
# There are fewer places than clients, so that some requests are refused and sent again.
SETTINGS = {"MARROWSCOPE_WORKERS": "2", "MARROWSCOPE_QUEUE": "10", "MARROWSCOPE_MAX_BYTES": str(MAX_BYTES)}


@dataclass
class Watch:
    """Samples of the server's memory, files and threads over time, with the tally of the clients at each moment.

    Attributes:
        pid: process id of the server.
        tally: the clients' tally.
        start: `perf_counter` at the beginning.
        samples: one mapping for each call of `sample`.
    """

    pid: int
    tally: Tally
    start: float = field(default_factory=perf_counter)
    samples: list[dict[str, Any]] = field(default_factory=list)

    def sample(self) -> None:
        """Take a sample."""
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
                **open_handles(self.pid),
            }
        )

    def table(self) -> list[dict[str, Any]]:
        """Return the samples at the ends of ten equal intervals, with the median memory of each interval."""
        rows, begin = [], 0
        for number in range(1, ROWS + 1):
            end = round(len(self.samples) * number / ROWS)
            if end > begin:
                memory = [sample["rss_mb"] for sample in self.samples[begin:end] if sample["rss_mb"] is not None]
                rows.append({**self.samples[end - 1], "rss_mb": statistics.median(memory) if memory else None})
            begin = end
        return rows


def open_handles(pid: int) -> dict[str, int | None]:
    """Return the number of open files and of threads of a process; None where there is no /proc."""
    counts: dict[str, int | None] = {}
    for name, folder in (("files", "fd"), ("threads", "task")):
        try:
            counts[name] = len(list(Path(f"/proc/{pid}/{folder}").iterdir()))
        except OSError:
            counts[name] = None
    return counts


def measure(*, quick: bool, minutes: float = 30, clients: int = 16, seed: int = 0) -> dict[str, Any]:
    """Send good and bad requests at the same time, and count the outcomes.

    Args:
        quick: send them for `QUICK_MINUTES`, whatever `minutes` is.
        minutes: duration of the load; its first fifth is the warm-up.
        clients: number of clients.
        seed: seed of their requests.

    Returns:
        Counts of answers; memory in MB; and open files and threads after the warm-up and at the end, without any load.
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
                watch.sample()
                time.sleep(SAMPLE_S)
        time.sleep(SETTLE_S)
        return open_handles(server.pid)

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
    """Return the outcomes in numbers, and the first few requests that went wrong by name."""
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
