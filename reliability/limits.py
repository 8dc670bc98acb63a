"""`python -m reliability limits`: exceeds each limit again and again while a normal client is served."""

from __future__ import annotations

import asyncio
import io
import itertools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from app.api.http.limits import MAX_HEADERS, MAX_TARGET_BYTES
from app.pipeline.decode import MAX_SIDE_PX
from app.pipeline.uploaded_nuclei.read import MAX_NUCLEI
from app.settings import Settings
from bench.process import rss_mb
from bench.server import Server, serving
from reliability.normal_client import first_answer, normal_client
from reliability.raw_client import END, FORM, PART, Reply, converse, count_statuses, nuclei_upload, request, upload

DEFAULTS = Settings.model_construct()
POST = b"POST /analyze HTTP/1.1\r\n" + FORM
CHUNKED = POST + b"Host: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
EVERY_S = 0.25
"""Interval of the normal client's requests."""
COLUMNS = ("times", "at_once", "wanted", "found", "longest_s")
BODY_TIMEOUT_S = 10
"""Longest pause of a body in the service that is measured; 30 s, the default, would only make it take longer."""


@dataclass(frozen=True)
class Attack:
    """A request that has to be refused.

    Attributes:
        name: the limit, in words.
        wanted: the only right status; None if the connection has to be closed without an answer.
        pieces: makes the request, in parts, for each attempt.
        pause_s: seconds to wait after each part.
        at_once: number of connections that send it at the same time.
    """

    name: str
    wanted: int | None
    pieces: Callable[[], Iterable[bytes]]
    pause_s: float = 0
    at_once: int = 4


def measure(*, quick: bool) -> dict[str, Any]:
    """Measure a normal client before the attacks and beside each of them.

    Args:
        quick: attack for a shorter time, with fewer slow connections.

    Returns:
        The longest pause of a body, and a row for each attack.
    """
    seconds, n_slow = (1.0, 50) if quick else (10.0, 400)
    settings = {"MARROWSCOPE_BODY_TIMEOUT_S": str(3 if quick else BODY_TIMEOUT_S)}
    with serving(**settings) as server:
        expected = first_answer(server.url)
        rows = [_row_without_attack(server, expected, seconds)]
        rows += [_row(server, attack, expected, seconds) for attack in attacks(n_slow)]
    return {"body_timeout_s": settings["MARROWSCOPE_BODY_TIMEOUT_S"], "limits": rows}


def attacks(n_slow: int) -> list[Attack]:
    """Return an attack for each limit.

    Args:
        n_slow: number of connections of those attacks that take their time.
    """
    too_many_bytes = bytes(DEFAULTS.max_bytes + 1)
    bomb, long_side = _black_png(12_000, 12_000), _black_png(MAX_SIDE_PX + 1, 1)
    tile = _black_png(100, 100)
    nuclei = b'{"geometry":{"type":"MultiPolygon","coordinates":[%s[]]}}' % (
        b"[[[0,0],[9,0],[9,9]]]," * (MAX_NUCLEI + 1)
    )
    parts = b"".join(PART + b"a\r\n" for _ in range(1000))
    noise = np.random.default_rng(0).integers(0, 256, 1_000_000, dtype=np.uint8).tobytes()
    lookalikes = b"\r\n------marro" * (DEFAULTS.max_bytes // 14)
    dripping = [b"POST /analyze HTTP/1.1\r\nContent-Length: 1000\r\nHost: 127.0.0.1\r\n" + FORM + b"\r\n" + PART]
    get = b"GET /livez HTTP/1.1\r\n"
    return [
        Attack("bytes, declared", 413, lambda: [upload(too_many_bytes)]),
        Attack(
            "bytes, in chunks",
            413,
            lambda: [CHUNKED, _chunk(PART), *[_chunk(bytes(2**20))] * (DEFAULTS.max_bytes // 2**20)],
        ),
        Attack("pixels", 413, lambda: [upload(bomb)]),
        Attack("length of a side", 413, lambda: [upload(long_side)]),
        Attack("number of nuclei", 413, lambda: [nuclei_upload(tile, nuclei)]),
        Attack("nesting of nuclei", 422, lambda: [nuclei_upload(tile, b"[" * 10**6)]),
        Attack("not a picture", 415, lambda: [upload(noise)]),
        Attack("20 MB that look like boundaries", 415, lambda: [upload(lookalikes)]),
        Attack("chunks of a byte", None, lambda: [CHUNKED, _chunk(PART), *[_chunk(b"a") * 10_000] * 100]),
        Attack("1000 files", 400, lambda: [request(POST, parts + END)]),
        Attack("header of a part", 400, lambda: [request(POST, PART[:-2] + b"X: " + bytes(1_000_000))]),
        Attack("number of headers", 431, lambda: [request(get + b"X: a\r\n" * (MAX_HEADERS + 1))]),
        Attack("size of headers", 431, lambda: [request(get + b"X: " + b"a" * 17_000 + b"\r\n")]),
        Attack("path and query", 414, lambda: [request(get.replace(b"livez", b"livez?" + b"a" * MAX_TARGET_BYTES))]),
        Attack("not HTTP", 400, lambda: [b"\x16\x03\x01\x02\r\n\r\n"]),
        Attack("slow body", 408, lambda: itertools.chain(dripping, itertools.repeat(b"a")), 0.7, n_slow),
        Attack("slow head", None, lambda: itertools.chain([get], itertools.repeat(b"X")), 0.7, n_slow),
        Attack("silence", None, lambda: [], 0, n_slow),
    ]


def _black_png(width: int, height: int) -> bytes:
    """Return a black picture, whose file is small."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _row_without_attack(server: Server, expected: object, seconds: float) -> dict[str, Any]:
    with normal_client(server.url, expected, EVERY_S) as experience:
        time.sleep(seconds)
    return {"limit": "nothing", **dict.fromkeys(COLUMNS), **experience.figures(), "rss_mb": rss_mb(server.pid)}


def _row(server: Server, attack: Attack, expected: object, seconds: float) -> dict[str, Any]:
    with normal_client(server.url, expected, EVERY_S) as experience:
        replies = asyncio.run(_repeat(urlsplit(server.url).port or 0, attack, seconds))
    return {
        "limit": attack.name,
        "times": len(replies),
        "at_once": attack.at_once,
        "wanted": "closed" if attack.wanted is None else str(attack.wanted),
        "found": count_statuses(replies),
        "longest_s": max(reply.seconds for reply in replies),
        **experience.figures(),
        "rss_mb": rss_mb(server.pid),
    }


async def _repeat(port: int, attack: Attack, seconds: float) -> list[Reply]:
    """Send an attack on several connections, again and again until the time is over; at least once on each."""
    replies: list[Reply] = []
    end = time.monotonic() + seconds

    async def attack_again() -> None:
        while True:
            replies.append(await converse(port, attack.pieces(), attack.pause_s))
            if time.monotonic() > end:
                return

    await asyncio.gather(*(attack_again() for _ in range(attack.at_once)))
    return replies
