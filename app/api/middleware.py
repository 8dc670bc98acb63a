"""What every request passes through: its id, the limit on its body, safe response headers."""

from __future__ import annotations

import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.observe import context


def safe_headers(request_id: str) -> dict[str, str]:
    """Headers of every response."""
    return {"X-Request-ID": request_id, "X-Content-Type-Options": "nosniff"}


class RequestMiddleware:
    """Gives each request an id and cuts a body that is too large, declared or not.

    Args:
        app: the application.
        max_bytes: largest body.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        context.request_id.set(request_id)
        received = 0

        async def limited_receive() -> Message:
            nonlocal received
            # Checked on the first read, inside the application, so that the answer is one of its problems.
            if self._declared(scope) > self.max_bytes:
                raise self._too_large()
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                raise self._too_large()
            return message

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(safe_headers(request_id))
            await send(message)

        await self.app(scope, limited_receive, send_with_headers)

    @staticmethod
    def _declared(scope: Scope) -> int:
        declared = Headers(scope=scope).get("content-length", "0")
        return int(declared) if declared.isdecimal() else 0

    def _too_large(self) -> HTTPException:
        # The unread rest of the body would be taken for the next request: close the connection.
        text = f"The request body may have at most {self.max_bytes} bytes."
        return HTTPException(413, text, headers={"Connection": "close"})
