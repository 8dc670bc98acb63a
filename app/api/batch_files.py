"""Files of results as answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import FileResponse
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from app.api.problems import problem
from app.jobs.folder import ANY, MEDIA_TYPES, media_type

RESULT_CONTENT: dict[str, Any] = {kind: {} for kind in sorted({*MEDIA_TYPES.values(), ANY})}
REPORT_HEADERS = {
    # A report holds its style and its pictures, and no script.
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
}
REFUSALS = {400: "The header Range is malformed.", 416: "The file does not reach as far as the header Range asks."}


class ResultResponse(FileResponse):
    """A file or parts of it; an error is a problem, as every other.

    Args:
        path: of a file that is there.

    Raises:
        OSError: it is there no more.
    """

    def __init__(self, path: Path) -> None:
        kind = media_type(path.name)
        headers = REPORT_HEADERS if kind == "text/html" else None
        super().__init__(path, headers=headers, media_type=kind, stat_result=path.stat())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        refused: Message | None = None

        async def send_file(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] in REFUSALS:
                refused = message
            if refused is None:
                await send(message)

        await super().__call__(scope, receive, send_file)
        if refused is not None:
            status, length = refused["status"], Headers(raw=refused["headers"]).get("content-range")
            headers = {"Content-Range": length} if length else None
            await problem(Request(scope), status, REFUSALS[status], headers)(scope, receive, send)
