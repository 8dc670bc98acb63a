"""A connection whose client keeps its side: what it has to send or to take, it does in time.

The server underneath waits for ever for a request that is never finished and for an answer that is never taken.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

MAX_CONNECTIONS = 500
"""Half of the 1,024 files that a process may usually open."""
END_OF_HEAD = b"\r\n\r\n"
CRUMB_BYTES = 32
"""Two line breaks belong to a chunk: one with fewer than 64 bytes in all is a crumb."""
MIN_CRUMBS = 16 * 1024
"""Bytes that are looked at, at least: a few small chunks do no harm."""


class Turn(Enum):
    """Whose turn it is on a connection."""

    HEAD = auto()
    """The client's, to send the head of a request."""
    REST = auto()
    """The client's, to send the rest of a body that was answered without."""
    ANSWER = auto()
    """The client's, to take what was written."""
    SERVICE = auto()
    """The application's; how long a body that it reads may take is the application's to say."""


LIMITS_S = {Turn.HEAD: 10.0, Turn.REST: 30.0, Turn.ANSWER: 120.0}
"""Seconds that the client's turns may take."""


class Connection(H11Protocol):
    """An HTTP/1.1 connection with limits on the client's time, and on how many there are.

    Where there are too many, the one that has waited for its client longest makes room.
    """

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], **options: Any) -> None:
        super().__init__(config, server_state, app_state, **options)
        self._turn: tuple[Turn, object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.since = self.loop.time()
        """When the present turn began."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by the event loop."""
        super().connection_made(transport)
        self._watch()
        self._make_room()

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        head, end, body = data.partition(END_OF_HEAD) if self.conn.their_state is h11.IDLE else (b"", b"", data)
        if head or end:
            super().data_received(head + end)
        # What follows the last request of a connection, such as a stray line break, must not cost it its answer.
        if body and not self.transport.is_closing() and self.conn.their_state is not h11.MUST_CLOSE:
            if self._is_chunked and _is_crumbs(body):
                self.transport.abort()
            else:
                super().data_received(body)
        self._watch()

    def on_response_complete(self) -> None:
        """Called by the server when the last byte of an answer is written."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Called by the event loop when the client is slow to take what is written."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Called by the event loop when it has taken most of it."""
        super().resume_writing()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    @property
    def _is_chunked(self) -> bool:
        return any(name == b"transfer-encoding" for name, _ in self.headers or [])

    @property
    def waits_for_client(self) -> bool:
        """Whether the client has something to do, a body to send included."""
        return self._whose_turn() is not Turn.SERVICE or self.conn.their_state is h11.SEND_BODY

    def _whose_turn(self) -> Turn:
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if self.transport.get_write_buffer_size() and not (is_answering and not self.cycle.response_started):
            return Turn.ANSWER
        if is_answering:
            return Turn.SERVICE
        return {h11.IDLE: Turn.HEAD, h11.SEND_BODY: Turn.REST}.get(self.conn.their_state, Turn.SERVICE)

    def _watch(self) -> None:
        """Begin the time of a turn when the turn changes."""
        turn = (self._whose_turn(), self.cycle)
        if turn == self._turn:
            return
        self._turn, self.since = turn, self.loop.time()
        if self._timer is not None:
            self._timer.cancel()
        limit_s = LIMITS_S.get(turn[0])
        self._timer = None if limit_s is None else self.loop.call_later(limit_s, self._end)

    def _end(self) -> None:
        """End the connection, unless its turn has passed unseen: no event tells that all was taken."""
        if self._turn is not None and self._turn[0] is not self._whose_turn():
            self._watch()
        else:
            self.transport.abort()

    def _make_room(self) -> None:
        open_ones = [other for other in self.connections if not other.transport.is_closing()]
        if len(open_ones) <= MAX_CONNECTIONS:
            return
        waiting = [other for other in open_ones if isinstance(other, Connection) and other.waits_for_client]
        min(waiting, key=lambda other: other.since).transport.abort()


def _is_crumbs(data: bytes) -> bool:
    """Whether part of a body comes in chunks of a few bytes, each of which costs the server as much as a large one."""
    return len(data) > MIN_CRUMBS and data.count(b"\r\n") * CRUMB_BYTES > len(data)
