"""The service over HTTP: how soon it is ready, how fast it answers, how much memory it takes."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from bench.load import count_cells, run_load, summarise
from bench.process import peak_rss_mb, rss_mb
from bench.server import serving
from bench.soak import drift, soak

CONCURRENCIES = (1, 4, 16)
SOAK_CONCURRENCY = 4
STARTS = 5


def cold_start() -> dict[str, Any]:
    """Seconds from the start of the process to the first 200 of /readyz, and memory then; medians of the starts."""
    seconds, memory = [], []
    for _ in range(STARTS):
        with serving() as server:
            seconds.append(server.ready_s)
            memory.append(rss_mb(server.pid))
    known = [found for found in memory if found is not None]
    return {
        "seconds": seconds,
        "median_s": statistics.median(seconds),
        "rss_mb": statistics.median(known or [0]) or None,
    }


def measure_service(
    tiles: Sequence[bytes], n_requests: int, n_soak: int, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """One server under 1, 4 and 16 clients; with 4 it serves the soak's requests while its memory is watched.

    Args:
        tiles: PNG files, posted in turn.
        n_requests: for each number of clients.
        n_soak: requests of the soak.
        say: told what comes next.
    """
    loads: list[dict[str, Any]] = []
    samples: list[float] = []
    with serving() as server:
        cells = count_cells(server.url, tiles)
        for concurrency in CONCURRENCIES:
            if concurrency == SOAK_CONCURRENCY:
                say(f"{n_soak} requests over HTTP, concurrency {concurrency}, memory watched")
                load, samples = asyncio.run(soak(server, tiles, n_soak, concurrency))
            else:
                say(f"{n_requests} requests over HTTP, concurrency {concurrency}")
                load = asyncio.run(run_load(server.url, tiles, n_requests, concurrency))
            loads.append(summarise(load, cells))
        peak = peak_rss_mb(server.pid)
    moved = drift(samples)
    kept = None if moved is None else {"concurrency": SOAK_CONCURRENCY, **moved}
    return {"tiles": len(tiles), "loads": loads, "soak": kept, "peak_rss_mb": peak}
