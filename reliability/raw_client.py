"""Requests as bytes on a connection of their own: such as no well-behaved client would send, at any speed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter

BOUNDARY = b"----marrow"
FORM = b"Content-Type: multipart/form-data; boundary=" + BOUNDARY + b"\r\n"
PART = b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="tile"; filename="tile.png"\r\n\r\n'
NUCLEI = PART.replace(b"tile", b"nuclei")
END = b"\r\n--" + BOUNDARY + b"--\r\n"
PATIENCE_S = 120
"""Longest wait for an answer."""


@dataclass(frozen=True)
class Reply:
    """What came back for a request.

    Attributes:
        status: HTTP status; None if the connection ended without an answer.
        seconds: time from the first byte sent to the last byte of the answer.
        head: status line and headers, in lower case.
        body: body of the answer.
    """

    status: int | None
    seconds: float
    head: bytes = b""
    body: bytes = b""


def request(head: bytes, body: bytes = b"") -> bytes:
    """Return a whole request.

    Args:
        head: request line and headers, each with its line break.
        body: bytes after the headers.
    """
    return head + b"Host: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def upload(tile: bytes) -> bytes:
    """Return a request that posts a tile."""
    return request(b"POST /analyze HTTP/1.1\r\n" + FORM, PART + tile + END)


def nuclei_upload(tile: bytes, nuclei: bytes) -> bytes:
    """Return a request that posts a tile with nuclei."""
    return request(b"POST /analyze HTTP/1.1\r\n" + FORM, PART + tile + b"\r\n" + NUCLEI + nuclei + END)


async def converse(port: int, pieces: Iterable[bytes], pause_s: float = 0) -> Reply:
    """Send the pieces of a request until an answer comes or the connection ends.

    Args:
        port: port of the service on this machine.
        pieces: the request in parts.
        pause_s: seconds to wait after each piece.
    """
    start = perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sender = asyncio.create_task(_send(writer, pieces, pause_s))
    try:
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)).lower()
        body = await asyncio.wait_for(reader.readexactly(_content_length(head)), PATIENCE_S)
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


def count_statuses(replies: Sequence[Reply]) -> dict[str, int]:
    """Return how many replies have each status; `closed` counts connections that ended without an answer."""
    names = ["closed" if reply.status is None else str(reply.status) for reply in replies]
    return {name: names.count(name) for name in sorted(set(names))}


async def _send(writer: asyncio.StreamWriter, pieces: Iterable[bytes], pause_s: float) -> None:
    with suppress(ConnectionError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            if pause_s:
                await asyncio.sleep(pause_s)


def _content_length(head: bytes) -> int:
    found = [line for line in head.splitlines() if line.startswith(b"content-length:")]
    return int(found[0].split(b":")[1]) if found else 0
