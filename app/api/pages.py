"""The pages at / and /review, and the documentation at /docs: static files that load nothing from other sites."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.staticfiles import StaticFiles

WEB = Path(__file__).parents[1] / "web"
# A browser asks for the page each time and gets it only if it has changed, so that nobody sees an old version's page.
NO_CACHE = {"Cache-Control": "no-cache"}
PAGE_HEADERS = {
    # The hash allows the one style sheet that OpenSeadragon adds by itself.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; "
    "style-src 'self' 'sha256-9xTiqzfwFaL2SGb1rmr8gysEwVVjIvqWAgmZgqFqpEE='; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    **NO_CACHE,
}
# The paths are relative, so that the service may lie below a path of a proxy.
_DOCS = bytes(
    get_swagger_ui_html(
        openapi_url="./openapi.json",
        title="Marrowscope: API",
        swagger_js_url="docs/files/swagger-ui-bundle.js",
        swagger_css_url="docs/files/swagger-ui.css",
        swagger_favicon_url="web/icon.svg",
    ).body
)
(_SCRIPT,) = re.findall(rb"<script>(.*?)</script>", _DOCS, re.DOTALL)
_SCRIPT_HASH = base64.b64encode(hashlib.sha256(_SCRIPT).digest()).decode()
DOCS_HEADERS = {
    # The one inline script is FastAPI's, and its hash allows it. The icons of Swagger UI are data in its style sheet,
    # and it shows a picture that was answered as a blob.
    "Content-Security-Policy": f"default-src 'none'; script-src 'self' 'sha256-{_SCRIPT_HASH}'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    **NO_CACHE,
}


class Files(StaticFiles):
    """Static files with headers of their own.

    Args:
        headers: headers of every file, which replace those that every response has.
        source: directory or packages, as for StaticFiles.
    """

    def __init__(self, headers: Mapping[str, str], **source: Any) -> None:
        super().__init__(**source)
        self._headers = headers

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Return the response for a file; see `StaticFiles`."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(self._headers)
        return response


page_files = Files(PAGE_HEADERS, directory=WEB)
"""The files of the page, to be mounted as /web."""
docs_files = Files(NO_CACHE, packages=[("fastapi_offline", "static")])
"""The files of the documentation, to be mounted as /docs/files."""

router = APIRouter()


@router.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
async def index(request: Request) -> Response:
    """Answer with the page."""
    return await page_files.get_response("index.html", request.scope)


@router.api_route("/review", methods=["GET", "HEAD"], include_in_schema=False)
async def review(request: Request) -> Response:
    """Answer with the page of the review, which says so itself where the service holds none."""
    return await page_files.get_response("review.html", request.scope)


@router.get("/docs", include_in_schema=False)
async def documentation() -> Response:
    """Answer with Swagger UI for openapi.json."""
    return Response(_DOCS, media_type="text/html", headers=DOCS_HEADERS)
