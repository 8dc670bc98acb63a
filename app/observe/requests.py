"""Count and time every request, and log it in one line."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from time import perf_counter

from starlette.routing import BaseRoute, Mount, compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.observe.metrics import Metrics

log = logging.getLogger(__name__)

ANALYSIS = "/analyze"
UNKNOWN = "unknown"
"""The label of all paths without a route, so that a scan of the service adds one label value, not thousands."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "OTHER"
"""The label of all other methods."""


def templates(routes: Iterable[BaseRoute]) -> list[str]:
    """Return the path templates of routes; all files of a mounted folder share one."""
    found = [(route, getattr(route, "path", None)) for route in routes]
    return [f"{path}/{{file:path}}" if isinstance(route, Mount) else path for route, path in found if path is not None]


class ObserveMiddleware:
    """Counts, times and logs requests. It must be the outermost middleware, so that it sees all refusals.

    Args:
        app: the application.
        metrics: the metrics in which requests are counted.
        paths: the path templates of its routes, from `templates`.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Sequence[str]) -> None:
        self.app = app
        self.metrics = metrics
        self.patterns: list[tuple[re.Pattern[str], str]] = [(compile_path(path)[0], path) for path in paths]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status, n_bytes = perf_counter(), 0, 0

        async def counting_receive() -> Message:
            nonlocal n_bytes
            message = await receive()
            n_bytes += len(message.get("body", b""))
            return message

        async def watching_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, counting_receive, watching_send)
        except Exception:
            # The handler for unexpected errors, outside all middleware, answers with a 500.
            status = status or 500
            raise
        finally:
            self._record(scope, status, n_bytes, perf_counter() - start)

    def _record(self, scope: Scope, status: int, n_bytes: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else OTHER
        route = next((template for pattern, template in self.patterns if pattern.match(scope["path"])), UNKNOWN)
        # The status is 0 if the request was abandoned before there was an answer.
        self.metrics.requests.labels(route, method, str(status)).inc()
        self.metrics.request_seconds.labels(route).observe(seconds)
        if route == ANALYSIS and n_bytes:
            self.metrics.upload_bytes.observe(n_bytes)
        state = scope.get("state", {})
        fields = {
            "request_id": state.get("request_id"),
            "method": method,
            "route": route,
            "status": status,
            "ms": round(seconds * 1000, 1),
            "bytes_in": n_bytes,
            "cells": state.get("n_cells"),
            "key": state.get("key_name"),
        }
        level = logging.WARNING if status >= 500 else logging.INFO
        log.log(level, "%s %s %d", method, route, status, extra={"fields": fields})
