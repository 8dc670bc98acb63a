"""An HTTP/1.1 connection that ends when its client takes too long to send a request or to receive an answer.

The server underneath, uvicorn, would wait for such a client for ever. It would also end a connection while its client
still sends a body that was refused, and the client would then see a broken connection in place of the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

MAX_CONNECTIONS = 500
"""Largest number of open connections: half of the 1,024 files that a process may usually open."""
END_OF_HEAD = b"\r\n\r\n"
MIN_BYTES_PER_BREAK = 32
"""Smallest mean number of bytes per line break. A chunk has two line breaks, so its chunks have 64 bytes on average."""
MIN_CHECKED_BYTES = 16 * 1024
"""Length of data from which on the size of chunks is checked. A few small chunks do no harm."""
MAX_REST_BYTES = 256 * 1024**2
"""Largest number of bytes that are dropped of a body that was answered before it was complete."""
SILENCE_S = 5.0
"""Seconds that a client may be silent while it is to send the rest of such a body, or to end the connection."""


class Turn(Enum):
    """What a connection waits for."""

    HEAD = auto()
    """The client is to send the head of a request."""
    REST = auto()
    """The client is to send the rest of a body that was answered before it was complete. The rest is dropped."""
    ANSWER = auto()
    """The client is to receive what was written."""
    SERVICE = auto()
    """The application is to read the body or to answer. `app.api.http.limits` bounds how long a body may take."""


LIMITS_S = {Turn.HEAD: 10.0, Turn.REST: 120.0, Turn.ANSWER: 120.0}
"""Seconds that each turn of the client may take."""


class LingeringTransport:
    """A transport that does not close while its client still sends, as `lingering_close` of nginx does not.

    A socket that is closed with unread bytes resets the connection, and a client that sends everything before it reads,
    as Python's urllib does, loses the answer. So only the sending half is closed at first; a second `close` closes all.

    Args:
        transport: the transport of the event loop; whatever this class does not define is its own.
        still_sends: whether the client may still be sending.
        on_linger: called when the sending half was closed.
    """

    def __init__(
        self, transport: asyncio.Transport, still_sends: Callable[[], bool], on_linger: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._still_sends = still_sends
        self._on_linger = on_linger
        self.is_lingering = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self.is_lingering or self._transport.is_closing()

    def close(self) -> None:
        """Close the sending half while the client still sends, else the whole."""
        if self.is_closing() or not self._still_sends():
            self._transport.close()
            return
        self.is_lingering = True
        with suppress(OSError):  # The client has gone already.
            self._transport.write_eof()
        self._on_linger()


class Connection(H11Protocol):
    """An HTTP/1.1 connection with a limit on the client's time and on the number of connections.

    If there are too many, the connection that has waited longest for its client is closed.
    """

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], **options: Any) -> None:
        super().__init__(config, server_state, app_state, **options)
        self._turn: tuple[Turn, object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.since = self.loop.time()
        """Time at which the present turn began, s of the event loop's clock."""
        self._n_rest = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin the connection; the event loop calls this."""
        self._lingering = LingeringTransport(transport, self._client_still_sends, self._linger)
        super().connection_made(cast("asyncio.Transport", self._lingering))
        self._watch()
        self._make_room()

    def data_received(self, data: bytes) -> None:
        """Take what the client sent, or drop it if the answer was sent; the event loop calls this."""
        if self._whose_turn() is Turn.REST:
            self._n_rest += len(data)
            if self._n_rest > MAX_REST_BYTES:
                self.transport.abort()
        if not self.transport.is_closing():
            self._parse(data)
        self._watch()

    def _parse(self, data: bytes) -> None:
        head, end, body = data.partition(END_OF_HEAD) if self.conn.their_state is h11.IDLE else (b"", b"", data)
        if head or end:
            super().data_received(head + end)
        # Data after the last request of a connection, such as a stray line break, must not cost the client its answer.
        if body and not self.transport.is_closing() and self.conn.their_state is not h11.MUST_CLOSE:
            if self._is_chunked and _has_tiny_chunks(body):
                self.transport.abort()
            else:
                super().data_received(body)

    def send_400_response(self, msg: str) -> None:
        """Answer a malformed request, unless its answer was begun before it was complete; the server calls this."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            super().send_400_response(msg)
        else:
            self.transport.close()

    def on_response_complete(self) -> None:
        """Go on to the next turn; the server calls this when the last byte of an answer is written."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Go on to the next turn; the event loop calls this when the client is slow to receive."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Go on to the next turn; the event loop calls this when the client has received most of what was written."""
        super().resume_writing()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the connection; the event loop calls this."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    @property
    def _is_chunked(self) -> bool:
        return any(name == b"transfer-encoding" for name, _ in self.headers or [])

    @property
    def is_open(self) -> bool:
        """Whether the connection still takes place among `MAX_CONNECTIONS`."""
        return self._lingering.is_lingering or not self.transport.is_closing()

    @property
    def waits_for_client(self) -> bool:
        """Whether it is the client that has to do something, such as to send a body."""
        return self._whose_turn() is not Turn.SERVICE or self.conn.their_state is h11.SEND_BODY

    def _client_still_sends(self) -> bool:
        return self.conn.their_state in {h11.SEND_BODY, h11.ERROR}

    def _linger(self) -> None:
        """Drop what still comes. An application that still reads or answers a malformed request is let go."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.flow.resume_reading()
        self._watch()

    def _whose_turn(self) -> Turn:
        if self._lingering.is_lingering:
            return Turn.REST
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if self.transport.get_write_buffer_size() and not (is_answering and not self.cycle.response_started):
            return Turn.ANSWER
        if is_answering:
            return Turn.SERVICE
        return {h11.IDLE: Turn.HEAD, h11.SEND_BODY: Turn.REST}.get(self.conn.their_state, Turn.SERVICE)

    def _watch(self) -> None:
        """Start the clock again if the turn has changed, or if more has come of the rest of a body."""
        turn, now = (self._whose_turn(), self.cycle), self.loop.time()
        if turn != self._turn:
            self._turn, self.since, self._n_rest = turn, now, 0
        elif turn[0] is not Turn.REST:
            return
        if self._timer is not None:
            self._timer.cancel()
        limit_s = LIMITS_S.get(turn[0])
        if limit_s is None:
            self._timer = None
        else:
            end = self.since + limit_s
            self._timer = self.loop.call_at(min(end, now + SILENCE_S) if turn[0] is Turn.REST else end, self._end)

    def _end(self) -> None:
        """Close the connection, unless its turn has changed: no event says that a client has received everything."""
        if self._turn is not None and self._turn[0] is not self._whose_turn():
            self._watch()
        else:
            self.transport.abort()

    def _make_room(self) -> None:
        """Close the connection that has waited longest for its client, if there are too many."""
        ours = [one for one in self.connections if isinstance(one, Connection)]
        connections = [one for one in ours if one.is_open]
        if len(connections) <= MAX_CONNECTIONS:
            return
        waiting = [one for one in connections if one.waits_for_client]
        min(waiting, key=lambda one: one.since).transport.abort()


def _has_tiny_chunks(data: bytes) -> bool:
    """Return whether a body comes in chunks of a few bytes, each of which costs the server as much as a large one."""
    return len(data) > MIN_CHECKED_BYTES and data.count(b"\r\n") * MIN_BYTES_PER_BREAK > len(data)
