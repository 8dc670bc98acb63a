"""One request over a socket, byte for byte, and its whole answer."""

from __future__ import annotations

import http.client
import socket
from dataclasses import dataclass
from time import monotonic
from urllib.parse import urlsplit

from reliability.requests_mix import Case
from reliability.serving import stable

PATIENCE_S = 60
Address = tuple[str, int]


@dataclass(frozen=True)
class Answer:
    """One whole answer.

    Attributes:
        status: of HTTP.
        media_type: Content-Type.
        body: every byte.
        request_id: the X-Request-ID.
        retry_after_s: seconds; None where the header is missing.
    """

    status: int
    media_type: str | None
    body: bytes
    request_id: str | None
    retry_after_s: float | None

    @property
    def same(self) -> tuple[object, ...]:
        """What must be the same in every answer to this case."""
        is_json = (self.media_type or "").endswith("json") and self.body != b""
        return self.status, self.media_type, stable(self.body) if is_json else self.body


class Connection:
    """A connection that is kept for the next request, as browsers and notebooks do.

    Args:
        address: host and port.

    Attributes:
        sent_at: when the last byte of the latest request was sent, as `monotonic` has it; None: not yet.
    """

    def __init__(self, address: Address) -> None:
        self.sent_at: float | None = None
        self._address = address
        self._socket: socket.socket | None = None

    def ask(self, case: Case) -> Answer | None:
        """Send the request and read its answer; None where the client hangs up as the case wants it.

        Raises:
            OSError, http.client.HTTPException: there was no answer, or not the whole of it.
        """
        self.sent_at = None
        if case.hang_up is not None:
            self._hang_up(case)
            return None
        if self._socket is None:
            self._socket = socket.create_connection(self._address, PATIENCE_S)
        is_kept = False
        try:
            self._socket.sendall(case.raw)
            self.sent_at = monotonic()
            response = http.client.HTTPResponse(self._socket, method=case.method)
            response.begin()
            body = response.read()
            is_kept = not response.will_close
        finally:
            if not is_kept:
                self.close()
        wait = response.headers.get("Retry-After")
        return Answer(
            response.status,
            response.headers.get("Content-Type"),
            body,
            response.headers.get("X-Request-ID"),
            None if wait is None else float(wait),
        )

    def close(self) -> None:
        """Close it; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _hang_up(self, case: Case) -> None:
        with socket.create_connection(self._address, PATIENCE_S) as leaving:
            leaving.sendall(case.raw[: len(case.raw) // 2] if case.hang_up == "in the body" else case.raw)
            if case.hang_up == "in the answer":
                leaving.recv(1000)


def address_of(url: str) -> Address:
    """Host and port."""
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 80)
