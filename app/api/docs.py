"""The documentation page: Swagger UI, with nothing fetched from outside."""

from __future__ import annotations

import base64
import hashlib
import re

from fastapi import APIRouter, Response
from fastapi.openapi.docs import get_swagger_ui_html

from app.api.page import NO_CACHE, Files

# Relative, so that the service may lie behind a proxy's path.
_HTML = bytes(
    get_swagger_ui_html(
        openapi_url="./openapi.json",
        title="Marrowscope: API",
        swagger_js_url="docs/files/swagger-ui-bundle.js",
        swagger_css_url="docs/files/swagger-ui.css",
        swagger_favicon_url="web/icon.svg",
    ).body
)
(_SCRIPT,) = re.findall(rb"<script>(.*?)</script>", _HTML, re.DOTALL)
_HASH = base64.b64encode(hashlib.sha256(_SCRIPT).digest()).decode()
HEADERS = {
    # The one inline script is FastAPI's, allowed by its hash. Swagger UI's icons are data in its style sheet; it shows
    # a picture that was answered as a blob.
    "Content-Security-Policy": f"default-src 'none'; script-src 'self' 'sha256-{_HASH}'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    **NO_CACHE,
}

docs_files = Files(NO_CACHE, packages=[("fastapi_offline", "static")])
"""To be mounted as /docs/files."""

docs = APIRouter()


@docs.get("/docs", include_in_schema=False)
async def documentation() -> Response:
    """Swagger UI for openapi.json."""
    return Response(_HTML, media_type="text/html", headers=HEADERS)
