"""`python -m reliability limits`: each limit hit again and again while a normal client goes on."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import urlsplit

from bench.process import rss_mb
from reliability.hostile import Attack, attacks
from reliability.normal_client import first_answer, normal_client
from reliability.serving import Server, serving
from reliability.wire import Reply, converse, counts

EVERY_S = 0.25
"""The normal client's pace."""
COLUMNS = ("times", "at_once", "wanted", "found", "longest_s")
BODY_TIMEOUT_S = 10
"""Of the service that is measured; its default is 30 s, which only makes the measurement longer."""


def measure(*, quick: bool) -> dict[str, Any]:
    """A row before the attacks and one for each.

    Args:
        quick: fewer of each.
    """
    seconds, n_slow = (1.5, 50) if quick else (10.0, 400)
    settings = {"MARROWSCOPE_BODY_TIMEOUT_S": str(3 if quick else BODY_TIMEOUT_S)}
    with serving(**settings) as server:
        expected = first_answer(server.url)
        rows = [_nothing(server, expected, seconds)]
        rows += [_row(server, attack, expected, seconds) for attack in attacks(n_slow)]
    return {"body_timeout_s": settings["MARROWSCOPE_BODY_TIMEOUT_S"], "limits": rows}


def _nothing(server: Server, expected: object, seconds: float) -> dict[str, Any]:
    with normal_client(server.url, expected, EVERY_S) as noticed:
        time.sleep(seconds)
    return {"limit": "nothing", **dict.fromkeys(COLUMNS), **noticed.figures(), "rss_mb": rss_mb(server.pid)}


def _row(server: Server, attack: Attack, expected: object, seconds: float) -> dict[str, Any]:
    with normal_client(server.url, expected, EVERY_S) as noticed:
        replies = asyncio.run(_hit(urlsplit(server.url).port or 0, attack, seconds))
    return {
        "limit": attack.name,
        "times": len(replies),
        "at_once": attack.at_once,
        "wanted": "closed" if attack.wanted is None else str(attack.wanted),
        "found": counts(replies),
        "longest_s": max(reply.seconds for reply in replies),
        **noticed.figures(),
        "rss_mb": rss_mb(server.pid),
    }


async def _hit(port: int, attack: Attack, seconds: float) -> list[Reply]:
    """So many connections at once, each of which does it again until the time is over."""
    replies: list[Reply] = []
    end = time.monotonic() + seconds

    async def go_on() -> None:
        while True:
            replies.append(await converse(port, attack.pieces(), attack.pause_s))
            if time.monotonic() > end:
                return

    await asyncio.gather(*(go_on() for _ in range(attack.at_once)))
    return replies
