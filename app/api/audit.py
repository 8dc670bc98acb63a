"""Every request to POST /analyze is in the audit log before its answer goes out, or it gets none."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.answer.code_version import environment
from app.answer.schemas import AnalysisOut
from app.api.problems import problem
from app.audit.log import AuditLog, NotWritten

ASKED = ("bundle", "mpp", "precision", "prototypes", "format")
"""Parameters whose values are logged; what else a query may hold is nobody's business."""
MAX_SHOWN = 80
"""Characters of a value as it was sent."""


class AuditMiddleware:
    """Holds each response to POST /analyze back until its line is on the disk.

    Args:
        app: the application, within the middleware that gives each request its id.
        log: gets a line for each request that was answered or refused.
    """

    def __init__(self, app: ASGIApp, log: AuditLog) -> None:
        self.app = app
        self.log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
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
            # It is answered further out, with nothing but its id.
            if not is_begun:
                with suppress(NotWritten):
                    await run_in_threadpool(self._write, scope, 500)
            raise

    def _write(self, scope: Scope, status: int) -> None:
        self.log.append(entry(scope, status))


def entry(scope: Scope, status: int) -> dict[str, Any]:
    """What the log says about one request: no pixels, and no name of a file.

    Args:
        scope: of the request, with what `request.state` has learned of it.
        status: of the response.
    """
    state, client = scope["state"], scope.get("client")
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    answer = state.get("answer") if status == 200 else None
    return {
        "event": "analyze",
        "request_id": state["request_id"],
        "key": state.get("key_name"),
        "client": client[0] if client else None,
        "status": status,
        "asked": {name: value[:MAX_SHOWN] for name, value in query if name in ASKED},
        "format": state.get("format"),
        "tile_sha256": _tile_sha256(state, answer),
        "answer": _told(answer) if answer else None,
    }


def _tile_sha256(state: Mapping[str, Any], answer: AnalysisOut | None) -> str | None:
    if answer:
        return answer.tile.sha256
    upload = state.get("upload")
    return None if upload is None else hashlib.sha256(upload).hexdigest()


def _told(answer: AnalysisOut) -> dict[str, Any]:
    return {
        "parameters": answer.parameters.model_dump(),
        "bundle": answer.bundle.model_dump(),
        "code_version": answer.code_version,
        "environment": environment(),
        "result_sha256": answer.result_sha256,
        "n_cells": len(answer.cells),
        "label": answer.label.value,
        "flags": [flag.code for flag in answer.quality.flags],
    }
