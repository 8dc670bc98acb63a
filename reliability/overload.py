"""`python -m reliability overload`: ten times as many requests as the service can answer, at a steady rate.

The load is open: a request is sent at its time, whether earlier ones are answered or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from bench.process import peak_rss_mb, rss_mb
from bench.server import serving
from reliability.normal_client import SAMPLE, first_answer, stable
from reliability.raw_client import Reply, converse, count_statuses, upload

CLIENTS = 4
"""Number of clients of the load that finds the capacity."""
TIMES = 10
OK, BUSY = 200, 503


def measure(*, quick: bool) -> dict[str, Any]:
    """Measure the capacity of the service, and what it does with ten times as many requests.

    Args:
        quick: overload a service with a short queue for 5 seconds, instead of the usual one for 60. A short queue is
            full at once on a slow machine too.

    Returns:
        Rates in requests per second, counts of statuses, and times of served and of refused requests in seconds.
        `goodput_share` is the rate of right answers over the mean of the capacities before and after, because other
        processes of the machine change both.
    """
    find_s, load_s = (3.0, 5.0) if quick else (20.0, 60.0)
    with serving(**({"MARROWSCOPE_QUEUE": "4"} if quick else {})) as server:
        expected, port = first_answer(server.url), urlsplit(server.url).port or 0
        capacity = asyncio.run(_capacity(port, find_s))
        before_mb = rss_mb(server.pid)
        replies, goodput = asyncio.run(_overload(port, capacity * TIMES, load_s))
        after = asyncio.run(_capacity(port, find_s))
        memory = {"before": before_mb, "peak": peak_rss_mb(server.pid), "after": rss_mb(server.pid)}
    right = [reply for reply in replies if reply.status == OK and stable(reply.body) == expected]
    refused = [reply for reply in replies if reply.status == BUSY]
    return {
        "capacity_per_s": capacity,
        "offered_per_s": len(replies) / load_s,
        "goodput_per_s": goodput,
        "goodput_share": goodput / ((capacity + after) / 2),
        "capacity_afterwards_per_s": after,
        "statuses": count_statuses(replies),
        "wrong": sum(reply.status == OK for reply in replies) - len(right),
        "refused_without_retry_after": sum(b"\r\nretry-after: " not in reply.head for reply in refused),
        "served_s": _times(right),
        "refused_s": _times(refused),
        "rss_mb": memory,
    }


def _times(replies: Sequence[Reply]) -> dict[str, float] | None:
    if not replies:
        return None
    values = np.percentile([reply.seconds for reply in replies], (50, 99, 100))
    return dict(zip(("p50", "p99", "max"), values.tolist(), strict=True))


async def _capacity(port: int, seconds: float) -> float:
    """Return the answers per second that a few clients get, each of which asks again once it is answered."""
    tile, start = upload(SAMPLE.read_bytes()), perf_counter()
    answered: list[Reply] = []

    async def ask_again() -> None:
        while perf_counter() < start + seconds:
            answered.append(await converse(port, [tile]))

    await asyncio.gather(*(ask_again() for _ in range(CLIENTS)))
    return count_statuses(answered).get(str(OK), 0) / (perf_counter() - start)


async def _overload(port: int, per_s: float, seconds: float) -> tuple[list[Reply], float]:
    """Return every reply to requests at a steady rate, and the answers per second while the load lasted."""
    tile, start = upload(SAMPLE.read_bytes()), perf_counter()
    in_time = 0

    async def ask() -> Reply:
        nonlocal in_time
        reply = await converse(port, [tile])
        in_time += reply.status == OK and perf_counter() < start + seconds
        return reply

    asked = []
    for turn in range(int(per_s * seconds)):
        await asyncio.sleep(max(0.0, start + turn / per_s - perf_counter()))
        asked.append(asyncio.create_task(ask()))
    return await asyncio.gather(*asked), in_time / seconds
