"""The load generator: so many clients, each of which posts a tile, waits for the answer, and posts the next."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any

import httpx
import numpy as np

OK = 200
PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Answer:
    """What became of one request.

    Attributes:
        seconds: from before the first byte was sent until after the last one came.
        status: of HTTP.
        tile: which of the tiles was posted.
    """

    seconds: float
    status: int
    tile: int


@dataclass(frozen=True)
class Load:
    """Answers in the order in which they came, the seconds from first to last, and the CPU seconds of the clients."""

    concurrency: int
    answers: list[Answer]
    seconds: float
    client_cpu_s: float


async def run_load(url: str, tiles: Sequence[bytes], n_requests: int, concurrency: int) -> Load:
    """Post the tiles in turn until there are so many answers.

    Args:
        url: of the server.
        tiles: PNG files.
        n_requests: how many are posted in all.
        concurrency: how many clients there are; each has one request under way.
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
    """Cells of each tile, as the server answers; it also warms the server up.

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
    """Figures of a load.

    Args:
        load: at least one of its answers is a 200.
        cells: of each tile.

    Returns:
        Latency in ms of the 200s alone, and what they come to per second; every status is counted. The 99th percentile
        of fewer than 100 answers is close to the slowest of them.
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


def _limits(concurrency: int) -> httpx.Limits:
    return httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
