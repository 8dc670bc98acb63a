"""Write requests to POST /analyze, and changes of the review and the bundles, to the audit log before their answers."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.answer.provenance import Record
from app.api.http.problems import problem
from app.audit.log import AuditLog, NotWritten

ASKED = ("bundle", "mpp", "precision", "prototypes", "format")
"""The query parameters whose values are logged. Other parameters are not logged."""
REVIEW = ("/reviews", "/classifiers", "/bundles")
"""Paths whose changes are logged, with all paths below them."""
WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
KEPT = "What was asked for was done and is kept, but the log has no line of it. Do not send it again."
MAX_SHOWN = 80
"""Characters of a parameter's value that are logged."""


class AuditMiddleware:
    """Holds each response to POST /analyze, and to a change of the review or the bundles, until its line is written.

    An analysis whose line cannot be written is not answered. A change cannot be taken back, so it is refused beforehand
    while the log cannot be written. If its line fails all the same, the answer says that the change was kept.

    Args:
        app: the application, inside the middleware that gives each request its id.
        log: gets one line for each request, whether it was answered or refused.
    """

    def __init__(self, app: ASGIApp, log: AuditLog) -> None:
        self.app = app
        self.log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; this is the entry point of ASGI."""
        if not _is_logged(scope):
            await self.app(scope, receive, send)
            return
        is_change = _is_review(scope["path"])
        if is_change:
            try:
                await run_in_threadpool(self.log.check)
            except NotWritten as error:
                text = f"{error} What cannot be logged is not done: nothing was changed."
                await problem(Request(scope), 503, text)(scope, receive, send)
                return
        is_begun = is_refused = False

        async def send_logged(message: Message) -> None:
            nonlocal is_begun, is_refused
            if message["type"] == "http.response.start":
                is_begun = True
                try:
                    await run_in_threadpool(self._write, scope, message["status"])
                except NotWritten as error:
                    is_refused = True
                    is_kept = is_change and message["status"] < 400
                    # A 503 would have the change sent again.
                    status, text = (500, KEPT) if is_kept else (503, "What cannot be logged is not answered.")
                    await problem(Request(scope), status, f"{error} {text}")(scope, receive, send)
            if not is_refused:
                await send(message)

        try:
            await self.app(scope, receive, send_logged)
        except Exception:
            # The handler outside all middleware answers it with a 500, which holds nothing but the request's id.
            if not is_begun:
                with suppress(NotWritten):
                    await run_in_threadpool(self._write, scope, 500)
            raise

    def _write(self, scope: Scope, status: int) -> None:
        self.log.append(log_line(scope, status))


def _is_logged(scope: Scope) -> bool:
    if scope["type"] != "http":
        return False
    method, path = scope["method"], scope["path"]
    return (method, path) == ("POST", "/analyze") or (method in WRITING and _is_review(path))


def _is_review(path: str) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in REVIEW)


def log_line(scope: Scope, status: int) -> dict[str, Any]:
    """Return what the log says about one request. It holds no pixels, no name of a file, and no name of a cell.

    Args:
        scope: scope of the request, whose state the route has filled.
        status: status of the response.
    """
    if _is_review(scope["path"]):
        return _review_line(scope, status)
    state, client = scope["state"], scope.get("client")
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    record: Record | None = state.get("record") if status == 200 else None
    return {
        "event": "analyze",
        "request_id": state["request_id"],
        "key": state.get("key_name"),
        "client": client[0] if client else None,
        "status": status,
        "asked": {name: value[:MAX_SHOWN] for name, value in query if name in ASKED},
        "format": state.get("format"),
        "tile_sha256": state.get("tile_sha256") or _sha256(state.get("upload")),
        "answer": record.model_dump() if record else None,
    }


def _review_line(scope: Scope, status: int) -> dict[str, Any]:
    """Return what the log says about a change of the review or the bundles: who made it, where, and how much of it."""
    state, client = scope["state"], scope.get("client")
    return {
        "event": "review",
        "request_id": state["request_id"],
        "key": state.get("key_name"),
        "client": client[0] if client else None,
        "status": status,
        "method": scope["method"],
        # The path itself may hold the name of a reviewer.
        "route": getattr(scope.get("route"), "path_format", None),
        "tile_sha256": state.get("tile_sha256") or _sha256(state.get("upload")),
        "changed": state.get("reviewed") if status < 300 else None,
    }


def _sha256(upload: bytes | None) -> str | None:
    """Return the checksum of an upload that was refused; None where none had arrived."""
    return None if upload is None else hashlib.sha256(upload).hexdigest()
