"""The service over HTTP: how fast it answers a number of clients, how soon it is ready, and how much memory it takes.

The load is closed: each client posts a tile, waits for the answer, and posts the next.
"""

from __future__ import annotations

import asyncio
import json
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any

import httpx
import numpy as np

from bench.process import peak_rss_mb, rss_mb
from bench.server import Server, serving

OK = 200
PERCENTILES = (50, 95, 99)
CONCURRENCIES = (1, 4, 16)
SOAK_CONCURRENCY = 4
STARTS = 5
SAMPLE_S = 0.1
WARM_UP = 0.2
"""Share of the samples of memory that are left out, because threads allocate their first buffers then."""
WINDOW = 0.2
"""Share of all samples at the beginning and at the end of the rest whose medians are compared."""


@dataclass(frozen=True)
class Answer:
    """The answer to one request.

    Attributes:
        seconds: time from before the first byte was sent until after the last one was received.
        status: HTTP status.
        tile: index of the tile that was posted.
    """

    seconds: float
    status: int
    tile: int


@dataclass(frozen=True)
class Load:
    """The answers that a number of clients got.

    Attributes:
        concurrency: number of clients.
        answers: in the order in which they came.
        seconds: time from the first request to the last answer.
        client_cpu_s: processor seconds that the clients themselves took.
    """

    concurrency: int
    answers: list[Answer]
    seconds: float
    client_cpu_s: float


async def run_load(url: str, tiles: Sequence[bytes], n_requests: int, concurrency: int) -> Load:
    """Post the tiles in turn until `n_requests` are answered.

    Args:
        url: address of the server.
        tiles: PNG files.
        n_requests: number of requests of all clients together.
        concurrency: number of clients, each with one request at a time.
    """
    answers: list[Answer] = []
    turns = iter(range(n_requests))
    async with httpx.AsyncClient(base_url=url, timeout=None, trust_env=False, limits=_limits(concurrency)) as client:  # noqa: S113 - waiting is what is measured

        async def ask() -> None:
            for turn in turns:
                tile = turn % len(tiles)
                start = perf_counter()
                response = await client.post("/analyze", files={"tile": ("tile.png", tiles[tile], "image/png")})
                answers.append(Answer(perf_counter() - start, response.status_code, tile))

        start, cpu_start = perf_counter(), process_time()
        await asyncio.gather(*(ask() for _ in range(concurrency)))
        return Load(concurrency, answers, perf_counter() - start, process_time() - cpu_start)


def count_cells(url: str, tiles: Sequence[bytes]) -> list[int]:
    """Post each tile once and return its number of cells; this also warms the server up.

    Raises:
        RuntimeError: a tile was refused.
    """
    cells = []
    with httpx.Client(base_url=url, timeout=None, trust_env=False) as client:  # noqa: S113 - the first answer takes long
        for data in tiles:
            response = client.post("/analyze", files={"tile": ("tile.png", data, "image/png")})
            if response.status_code != OK:
                raise RuntimeError(f"The service answered {response.status_code}: {response.text[:500]}")
            cells.append(len(json.loads(response.content)["cells"]))
    return cells


def summarise(load: Load, cells: Sequence[int]) -> dict[str, Any]:
    """Summarise a load.

    Args:
        load: at least one of its answers has status 200.
        cells: number of cells of each tile.

    Returns:
        The count of every status; for the answers with status 200 alone, percentiles of the latency in ms, and tiles
        and cells per second. The 99th percentile of fewer than 100 answers is close to the slowest of them.
    """
    good = [answer for answer in load.answers if answer.status == OK]
    latencies = np.percentile([answer.seconds * 1000 for answer in good], PERCENTILES)
    return {
        "concurrency": load.concurrency,
        "requests": len(load.answers),
        "statuses": {str(status): n for status, n in sorted(Counter(a.status for a in load.answers).items())},
        **{f"p{percentile}_ms": float(value) for percentile, value in zip(PERCENTILES, latencies, strict=True)},
        "tiles_per_s": len(good) / load.seconds,
        "cells_per_s": sum(cells[answer.tile] for answer in good) / load.seconds,
        "client_cpu_share": load.client_cpu_s / load.seconds,
    }


async def run_soak(
    server: Server, tiles: Sequence[bytes], n_requests: int, concurrency: int
) -> tuple[Load, list[float]]:
    """Run a load and read the server's memory in MB every tenth of a second (no samples where it cannot be read)."""
    samples: list[float] = []

    async def watch() -> None:
        while (found := rss_mb(server.pid)) is not None:
            samples.append(found)
            await asyncio.sleep(SAMPLE_S)

    watcher = asyncio.create_task(watch())
    load = await run_load(server.url, tiles, n_requests, concurrency)
    watcher.cancel()
    return load, samples


def drift(samples: Sequence[float]) -> dict[str, Any] | None:
    """Compute how far memory moved after the warm-up.

    Args:
        samples: memory in MB, at equal intervals.

    Returns:
        The medians of the first fifth after the warm-up and of the last fifth, the change between them in percent, and
        the largest sample; None for fewer than five samples.
    """
    window = int(len(samples) * WINDOW)
    if window < 1:
        return None
    after = samples[int(len(samples) * WARM_UP) :]
    first, last = statistics.median(after[:window]), statistics.median(after[-window:])
    return {
        "samples": len(samples),
        "first_mb": first,
        "last_mb": last,
        "drift_percent": 100 * (last / first - 1),
        "largest_mb": max(samples),
    }


def measure_starts() -> dict[str, Any]:
    """Measure the seconds from starting the process to the first 200 of /readyz, and the memory then; and medians."""
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
    tiles: Sequence[bytes], n_requests: int, n_soak: int, report: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Measure one server under 1, 4 and 16 clients; while it serves 4, its memory is watched (the soak).

    Args:
        tiles: PNG files, posted in turn.
        n_requests: number of requests of 1 client, and of 16 clients together.
        n_soak: number of requests of the soak.
        report: called with a line about each step before it begins.
    """
    loads: list[dict[str, Any]] = []
    samples: list[float] = []
    with serving() as server:
        cells = count_cells(server.url, tiles)
        for concurrency in CONCURRENCIES:
            if concurrency == SOAK_CONCURRENCY:
                report(f"{n_soak} requests over HTTP, concurrency {concurrency}, memory watched")
                load, samples = asyncio.run(run_soak(server, tiles, n_soak, concurrency))
            else:
                report(f"{n_requests} requests over HTTP, concurrency {concurrency}")
                load = asyncio.run(run_load(server.url, tiles, n_requests, concurrency))
            loads.append(summarise(load, cells))
        peak = peak_rss_mb(server.pid)
    moved = drift(samples)
    soak = None if moved is None else {"concurrency": SOAK_CONCURRENCY, **moved}
    return {"tiles": len(tiles), "loads": loads, "soak": soak, "peak_rss_mb": peak}


def _limits(concurrency: int) -> httpx.Limits:
    return httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
