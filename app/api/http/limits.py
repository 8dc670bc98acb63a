"""Limits of a request: the length of its head, the bytes of its body, and the time that it may take to arrive."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.http.problems import problem
from app.service import BUSY, Analyzer
from app.settings import Settings

MAX_TARGET_BYTES = 4096
"""Largest length of path and query together, as sent."""
MAX_HEADERS = 64
MAX_HEADER_BYTES = 16 * 1024
"""Largest length of the names and values of all headers together."""
BATCHES, BUNDLES = ("POST", "/batches"), ("POST", "/bundles")
"""The requests whose files are written to the disk."""
MAX_ADAPTATION_TILES = 50
"""Largest number of tiles that a bundle is adapted to over HTTP. Each may have as many bytes as any other tile."""
JSON_PATHS = ("/reviews", "/reviews/types", "/classifiers")
"""Paths whose bodies are JSON."""
MAX_JSON_BYTES = 2 * 1024**2
"""Largest body of JSON: enough for the names of 5,000 cells."""
MAX_FILES, MAX_FIELDS = 3, 8
"""Parts of a multipart form at which the parser stops.

A right form has one or two files and no text. The usual mistakes, such as a second tile or the query's parameters as
text, are refused by the route, which explains them.
"""


class LimitsMiddleware:
    """Refuses a request whose head is too long, or whose body is too large or too slow.

    The head is checked before the application is called. The body is checked while the application reads it: a body
    that breaks a limit raises an exception in that read, so that the application answers it with a problem like any
    other. A body that the application does not read costs nothing, because the server drops it as it arrives.

    Args:
        app: the application.
        settings: hold the largest body, how slow it may be, and how many requests may wait.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings
        self.max_held = settings.max_bytes * (settings.workers + settings.queue)
        """Largest number of bytes of all bodies in memory at once: enough for as many of the largest as may wait."""
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; this is the entry point of ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if refusal := _head_refusal(scope):
            request = Request(scope)
            await problem(request, *refusal)(scope, receive, send)
            return
        body = _Body(self, scope, receive)
        try:
            await self.app(scope, body.receive, body.closing(send))
        finally:
            self.held -= body.n_held


class _Body:
    """The body of one request while it arrives.

    The body of a batch, and that of the tiles to adapt to, have their own limits of bytes, and are written to the disk
    instead of held in memory. One of JSON has its own, too, and no worker analyses it.
    """

    def __init__(self, limits: LimitsMiddleware, scope: Scope, receive: Receive) -> None:
        self.limits = limits
        self.headers = Headers(scope=scope)
        self.app: FastAPI = scope["app"]
        self._receive = receive
        asked = (scope["method"], scope["path"])
        self.is_batch = asked == BATCHES
        self.is_held = asked not in (BATCHES, BUNDLES)
        self.is_json = scope["path"] in JSON_PATHS
        settings = limits.settings
        self.max_bytes = settings.batch_max_bytes if self.is_batch else settings.max_bytes
        if asked == BUNDLES:
            self.max_bytes *= MAX_ADAPTATION_TILES
        if self.is_json:
            self.max_bytes = min(self.max_bytes, MAX_JSON_BYTES)
        self.n_bytes = self.n_held = 0
        self.begun: float | None = None
        """Time at which the application began to read, s of the event loop's clock."""
        self.is_whole = False

    async def receive(self) -> Message:
        """Return the next message of the server.

        Raises:
            HTTPException: 503, the queue is full or too many bytes are held already; 413, the body has too many bytes;
                408, it pauses too long or is too slow.
        """
        if self.is_whole:
            return await self._receive()  # It only shows whether the client is still there.
        now = asyncio.get_running_loop().time()
        if self.begun is None:
            self._check_before()
            self.begun = now
        settings = self.limits.settings
        pause_s, least_rate = settings.body_timeout_s, settings.body_min_bytes_per_s
        paused_at = now + pause_s
        slow_at = self.begun + pause_s + self.n_bytes / least_rate
        try:
            async with asyncio.timeout_at(min(paused_at, slow_at)):
                message = await self._receive()
        except TimeoutError as error:
            if paused_at <= slow_at:
                wanted = f"may not pause for more than {pause_s:g} s"
            else:
                wanted = f"must arrive with at least {least_rate:g} bytes per second, after {pause_s:g} s to begin with"
            text = f"The request body {wanted}; {self.n_bytes} bytes arrived."
            # The connection ends, because the rest of the body would be taken for the next request.
            raise HTTPException(408, text, {"Connection": "close"}) from error
        self._count(len(message.get("body", b"")))
        self.is_whole = not message.get("more_body", False)
        return message

    def _check_before(self) -> None:
        """Refuse a body without reading it if it is declared too large, or if the queue is full."""
        declared = self.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > self.max_bytes:
            raise self._too_large(f"{int(declared)} are declared")
        analyzer: Analyzer = self.app.state.analyzer
        if analyzer.is_full and not (self.is_batch or self.is_json):
            raise HTTPException(503, BUSY)

    def _count(self, n_bytes: int) -> None:
        self.n_bytes += n_bytes
        if self.n_bytes > self.max_bytes:
            raise self._too_large("more arrived")
        if not self.is_held:
            return
        self.n_held += n_bytes
        self.limits.held += n_bytes
        if self.limits.held > self.limits.max_held:
            raise HTTPException(503, "Too many uploads are under way; try again shortly.")

    def _too_large(self, found: str) -> HTTPException:
        return HTTPException(413, f"The request body may have at most {self.max_bytes} bytes, {found}.")

    def closing(self, send: Send) -> Send:
        """Return a `send` that ends the connection of a client that still waits to be asked for its body.

        The server cannot know whether such a client sends the body after the answer or not.
        """
        waits = self.headers.get("expect", "").lower() == "100-continue"

        async def sending(message: Message) -> None:
            if waits and self.begun is None and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        return sending


def _head_refusal(scope: Scope) -> tuple[int, str] | None:
    """Return status and detail if the head of a request is too long."""
    n_target = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    if n_target > MAX_TARGET_BYTES:
        return 414, f"Path and query may have at most {MAX_TARGET_BYTES} bytes, found {n_target}."
    headers = scope["headers"]
    if len(headers) > MAX_HEADERS:
        return 431, f"A request may have at most {MAX_HEADERS} headers, found {len(headers)}."
    n_headers = sum(len(name) + len(value) for name, value in headers)
    if n_headers > MAX_HEADER_BYTES:
        return 431, f"The headers may have at most {MAX_HEADER_BYTES} bytes in all, found {n_headers}."
    return None
