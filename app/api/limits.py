"""What a request may ask of the service: length of its head, bytes of its body, time to send it."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import problem
from app.service import BUSY, Analyzer
from app.settings import Settings

MAX_TARGET_BYTES = 4096
"""Of the path and the query together, as sent."""
MAX_HEADERS = 64
MAX_HEADER_BYTES = 16 * 1024
"""Of all names and values together."""
BATCHES = "/batches"
MAX_FILES, MAX_FIELDS = 2, 1
"""Of a multipart form; one more than is right, so that the usual mistakes get the answer that explains them."""


def keep_uploads_in_memory() -> None:
    """Never write an upload to a temporary file: the service needs no disk, and no full disk breaks it.

    The limits on bytes bound the memory instead. FastAPI leaves no other way than the class's own attribute.
    """
    MultiPartParser.spool_max_size = 0  # no limit, as SpooledTemporaryFile has it


class LimitsMiddleware:
    """Refuses a head that is too long, and lets the application read a body only within its limits.

    What a body may not do is said on the application's reading it, inside, so that the answer is one of its problems.
    A body that nobody reads costs nothing: the server drops it as it comes.

    Args:
        app: the application.
        settings: the largest body, the time it may take, and how many may wait.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings
        self.max_held = settings.max_bytes * (settings.workers + settings.queue)
        """Bytes of all bodies that are in memory at once: enough for as many of the largest as may wait."""
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
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
    """The body of one request, on its way in.

    What is sent with a batch has a limit of its own, is written to the disk as it comes, and is not held; as much of it
    as another body may have, has the time of another body.
    """

    def __init__(self, limits: LimitsMiddleware, scope: Scope, receive: Receive) -> None:
        self.limits = limits
        self.headers = Headers(scope=scope)
        self.app: FastAPI = scope["app"]
        self._receive = receive
        self.is_kept = (scope["method"], scope["path"]) == ("POST", BATCHES)
        self.max_bytes = limits.settings.batch_max_bytes if self.is_kept else limits.settings.max_bytes
        self.n_bytes = self.n_held = 0
        self.deadline: float | None = None
        self.is_whole = False

    async def receive(self) -> Message:
        """The next message of the server.

        Raises:
            HTTPException: 503, the queue is full or too much is held already; 413, too many bytes; 408, too slow.
        """
        if self.is_whole:
            return await self._receive()  # only tells whether the client is still there
        if self.deadline is None:
            self._check_before()
            self.deadline = asyncio.get_running_loop().time() + self.limits.settings.body_timeout_s
        try:
            async with asyncio.timeout_at(self.deadline):
                message = await self._receive()
        except TimeoutError as error:
            limit = self.limits.settings.body_timeout_s
            each = f", or each {self.limits.settings.max_bytes} bytes of it" if self.is_kept else ""
            text = f"The request body{each} must arrive within {limit:g} s; {self.n_bytes} bytes came."
            # Its rest would be taken for the next request.
            raise HTTPException(408, text, {"Connection": "close"}) from error
        self._count(len(message.get("body", b"")))
        self.is_whole = not message.get("more_body", False)
        return message

    def _check_before(self) -> None:
        """Refuse without reading where the answer is known already."""
        declared = self.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > self.max_bytes:
            raise self._too_large(f"{int(declared)} are declared")
        analyzer: Analyzer = self.app.state.analyzer
        if analyzer.is_full and not self.is_kept:
            raise HTTPException(503, BUSY)

    def _count(self, n_bytes: int) -> None:
        before, self.n_bytes = self.n_bytes, self.n_bytes + n_bytes
        if self.n_bytes > self.max_bytes:
            raise self._too_large("more came")
        if self.is_kept:
            self._extend(before)
            return
        self.n_held += n_bytes
        self.limits.held += n_bytes
        if self.limits.held > self.limits.max_held:
            raise HTTPException(503, "Too many uploads are under way; try again shortly.")

    def _extend(self, before: int) -> None:
        """Give the next part of a large body its time.

        Args:
            before: bytes that had come before the present ones.
        """
        part = self.limits.settings.max_bytes
        if self.n_bytes // part > before // part:
            self.deadline = asyncio.get_running_loop().time() + self.limits.settings.body_timeout_s

    def _too_large(self, found: str) -> HTTPException:
        return HTTPException(413, f"The request body may have at most {self.max_bytes} bytes, {found}.")

    def closing(self, send: Send) -> Send:
        """`send`, but that it ends the connection of a client that still waits to be asked for its body.

        The server cannot know whether such a body follows the answer or not.
        """
        waits = self.headers.get("expect", "").lower() == "100-continue"

        async def sending(message: Message) -> None:
            if waits and self.deadline is None and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        return sending


def _head_refusal(scope: Scope) -> tuple[int, str] | None:
    """Status and detail, where the head of a request is too long."""
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
