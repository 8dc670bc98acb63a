"""The page: static files, nothing fetched from outside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.staticfiles import StaticFiles

WEB = Path(__file__).parents[1] / "web"
# Asked for anew each time, and sent only where it changed: nobody sees the page of an older service.
NO_CACHE = {"Cache-Control": "no-cache"}
HEADERS = {
    # The hash is that of the one style sheet that OpenSeadragon adds by itself.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; "
    "style-src 'self' 'sha256-9xTiqzfwFaL2SGb1rmr8gysEwVVjIvqWAgmZgqFqpEE='; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    **NO_CACHE,
}


class Files(StaticFiles):
    """Static files with headers of their own.

    Args:
        headers: of every file, in place of those that every response has.
        where: directory or packages, as for StaticFiles.
    """

    def __init__(self, headers: Mapping[str, str], **where: Any) -> None:
        super().__init__(**where)
        self._headers = headers

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """See `StaticFiles`."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(self._headers)
        return response


files = Files(HEADERS, directory=WEB)
"""To be mounted as /web."""

page = APIRouter()


@page.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
async def index(request: Request) -> Response:
    """The page itself."""
    return await files.get_response("index.html", request.scope)
