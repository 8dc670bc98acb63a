"""What a hostile or broken client sends: a way to hit each limit."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from app.api.limits import MAX_HEADERS, MAX_TARGET_BYTES
from app.pipeline.decode import MAX_SIDE_PX
from app.settings import Settings
from reliability.wire import END, FORM, PART, request, upload

DEFAULTS = Settings.model_construct()
POST = b"POST /analyze HTTP/1.1\r\n" + FORM
CHUNKED = POST + b"Host: service\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Attack:
    """A request that is to be refused.

    Attributes:
        name: the limit, in words.
        wanted: the only right answer; None: the connection is ended without one.
        pieces: the request, made anew for each time.
        pause_s: after each piece.
        at_once: how many connections do it at the same time.
    """

    name: str
    wanted: int | None
    pieces: Callable[[], Iterable[bytes]]
    pause_s: float = 0
    at_once: int = 4


def png(width: int, height: int) -> bytes:
    """A black picture, small as a file."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _form(body: bytes) -> list[bytes]:
    return [request(POST, body)]


def attacks(n_slow: int) -> list[Attack]:
    """One for each limit.

    Args:
        n_slow: connections at once of those that take their time.
    """
    too_many_bytes = bytes(DEFAULTS.max_bytes + 1)
    bomb, strip = png(12_000, 12_000), png(MAX_SIDE_PX + 1, 1)
    parts = b"".join(PART + b"a\r\n" for _ in range(1000))
    noise = np.random.default_rng(0).integers(0, 256, 1_000_000, dtype=np.uint8).tobytes()
    lookalikes = b"\r\n------marro" * (DEFAULTS.max_bytes // 14)
    dripping = [b"POST /analyze HTTP/1.1\r\nContent-Length: 1000\r\nHost: service\r\n" + FORM + b"\r\n" + PART]
    get = b"GET /livez HTTP/1.1\r\n"
    return [
        Attack("bytes, declared", 413, lambda: [upload(too_many_bytes)]),
        Attack(
            "bytes, in chunks",
            413,
            lambda: [CHUNKED, _chunk(PART), *[_chunk(bytes(2**20))] * (DEFAULTS.max_bytes // 2**20)],
        ),
        Attack("pixels", 413, lambda: [upload(bomb)]),
        Attack("length of a side", 413, lambda: [upload(strip)]),
        Attack("not a picture", 415, lambda: [upload(noise)]),
        Attack("20 MB that look like boundaries", 415, lambda: [upload(lookalikes)]),
        Attack("chunks of a byte", None, lambda: [CHUNKED, _chunk(PART), *[_chunk(b"a") * 10_000] * 100]),
        Attack("1000 files", 400, lambda: _form(parts + END)),
        Attack("header of a part", 400, lambda: _form(PART[:-2] + b"X: " + bytes(1_000_000))),
        Attack("number of headers", 431, lambda: [request(get + b"X: a\r\n" * (MAX_HEADERS + 1))]),
        Attack("size of headers", 431, lambda: [request(get + b"X: " + b"a" * 17_000 + b"\r\n")]),
        Attack("path and query", 414, lambda: [request(get.replace(b"livez", b"livez?" + b"a" * MAX_TARGET_BYTES))]),
        Attack("not HTTP", 400, lambda: [b"\x16\x03\x01\x02\r\n\r\n"]),
        Attack("slow body", 408, lambda: itertools.chain(dripping, itertools.repeat(b"a")), 0.7, n_slow),
        Attack("slow head", None, lambda: itertools.chain([get], itertools.repeat(b"X")), 0.7, n_slow),
        Attack("silence", None, lambda: [], 0, n_slow),
    ]
