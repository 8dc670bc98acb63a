"""Requests as bytes on a connection of their own: what no well-behaved client would send, and at which speed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter

BOUNDARY = b"----marrow"
FORM = b"Content-Type: multipart/form-data; boundary=" + BOUNDARY + b"\r\n"
PART = b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="tile"; filename="tile.png"\r\n\r\n'
END = b"\r\n--" + BOUNDARY + b"--\r\n"
PATIENCE_S = 120


@dataclass(frozen=True)
class Reply:
    """What became of a request.

    Attributes:
        status: of HTTP; None where the connection ended without an answer.
        seconds: from the first byte sent to the last one of the answer.
        head: of the answer, in lower case.
        body: of the answer.
    """

    status: int | None
    seconds: float
    head: bytes = b""
    body: bytes = b""


def request(head: bytes, body: bytes = b"") -> bytes:
    """A whole request; `head` is its first line and headers, each with its line break."""
    return head + b"Host: service\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def upload(tile: bytes) -> bytes:
    """A request that posts a tile."""
    return request(b"POST /analyze HTTP/1.1\r\n" + FORM, PART + tile + END)


async def converse(port: int, pieces: Iterable[bytes], pause_s: float = 0) -> Reply:
    """Send pieces, with a pause after each, until an answer comes or the connection ends.

    Args:
        port: of the service on this machine.
        pieces: of one request.
        pause_s: seconds.
    """
    start = perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sender = asyncio.create_task(_feed(writer, pieces, pause_s))
    try:
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)).lower()
        body = await asyncio.wait_for(reader.readexactly(_length(head)), PATIENCE_S)
        return Reply(int(head.split()[1]), perf_counter() - start, head, body)
    except (ConnectionError, asyncio.IncompleteReadError):
        return Reply(None, perf_counter() - start)
    finally:
        sender.cancel()
        with suppress(asyncio.CancelledError):
            await sender
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def _feed(writer: asyncio.StreamWriter, pieces: Iterable[bytes], pause_s: float) -> None:
    with suppress(ConnectionError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            if pause_s:
                await asyncio.sleep(pause_s)


def _length(head: bytes) -> int:
    found = [line for line in head.splitlines() if line.startswith(b"content-length:")]
    return int(found[0].split(b":")[1]) if found else 0


def counts(replies: Sequence[Reply]) -> dict[str, int]:
    """How many of each status there are; `closed` stands for none."""
    names = ["closed" if reply.status is None else str(reply.status) for reply in replies]
    return {name: names.count(name) for name in sorted(set(names))}
