"""Give every request an id, and every response safe headers."""

from __future__ import annotations

import uuid

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.observe.logs import request_id as logged_request_id


def safe_headers(request_id: str) -> dict[str, str]:
    """Return the headers of every response. A response that has one of them already keeps its own, as the page does."""
    return {
        "X-Request-ID": request_id,
        "X-Content-Type-Options": "nosniff",
        # An answer is about a patient's tile, so no cache may keep it.
        "Cache-Control": "no-store",
        # An answer that is opened by itself runs nothing and loads nothing, and no other site may frame or embed it.
        "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
    }


class RequestMiddleware:
    """Gives each request an id, and each response its headers.

    Args:
        app: the application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; this is the entry point of ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        logged_request_id.set(request_id)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in safe_headers(request_id).items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers)
