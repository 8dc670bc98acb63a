"""Write every request to POST /analyze to the audit log before its answer goes out."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.answer.provenance import Record
from app.api.problems import problem
from app.audit.log import AuditLog, NotWritten

ASKED = ("bundle", "mpp", "precision", "prototypes", "format")
"""The query parameters whose values are logged. Other parameters are not logged."""
MAX_SHOWN = 80
"""Characters of a parameter's value that are logged."""


class AuditMiddleware:
    """Holds each response to POST /analyze back until its line is on the disk.

    Args:
        app: the application, inside the middleware that gives each request its id.
        log: gets one line for each request, whether it was answered or refused.
    """

    def __init__(self, app: ASGIApp, log: AuditLog) -> None:
        self.app = app
        self.log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; this is the entry point of ASGI."""
        if scope["type"] != "http" or (scope["method"], scope["path"]) != ("POST", "/analyze"):
            await self.app(scope, receive, send)
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
                    await problem(Request(scope), 503, f"{error} What cannot be logged is not answered.")(
                        scope, receive, send
                    )
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


def log_line(scope: Scope, status: int) -> dict[str, Any]:
    """Return what the log says about one request. It holds no pixels and no name of a file.

    Args:
        scope: scope of the request, whose state the route has filled.
        status: status of the response.
    """
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


def _sha256(upload: bytes | None) -> str | None:
    """Return the checksum of an upload that was refused; None where none had arrived."""
    return None if upload is None else hashlib.sha256(upload).hexdigest()
