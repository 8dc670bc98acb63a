"""Memory of the server over many requests: does it stay where it is?"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from typing import Any

from bench.load import Load, run_load
from bench.process import rss_mb
from bench.server import Server

SAMPLE_S = 0.1
WARM_UP = 0.2
"""Share of the samples that is left out: threads allocate their first buffers."""
WINDOW = 0.2
"""Share of the samples at either end of the rest whose medians are compared."""


async def soak(server: Server, tiles: Sequence[bytes], n_requests: int, concurrency: int) -> tuple[Load, list[float]]:
    """A load, and the server's memory in MB every tenth of a second while it lasts (none where it cannot be read)."""
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
    """How far memory has moved after the warm-up; None when there are too few samples to say.

    Args:
        samples: MB, at equal distances in time.

    Returns:
        Median of the first fifth after the warm-up and of the last fifth, the change between them in percent, and the
        largest sample.
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
