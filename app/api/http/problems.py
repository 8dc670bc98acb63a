"""Answer every error with an RFC 9457 problem, by one table from exception to status."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from app.access.keyring import KeysUnreadable
from app.answer.schemas import Problem
from app.api.http.middleware import safe_headers
from app.api.http.parameters import form_refusal
from app.audit.log import NotWritten
from app.jobs.batch import StoreUnavailable
from app.jobs.slides_root import NotUnderRoot
from app.pipeline import errors
from app.review.errors import NotInReview, ReviewConflict, ReviewUnavailable
from app.review.named_cells import InvalidNamedCells
from app.service import Busy, NotReady, TookTooLong, UnknownBundle

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = "5"
MAX_SHOWN = 80
"""Characters of a wrong value that the problem repeats."""

STATUS: Mapping[type[Exception], int] = {
    errors.UnreadableTile: 415,
    errors.UnsupportedTile: 415,
    errors.TileTooLarge: 413,
    errors.TooManyNuclei: 413,
    errors.InvalidNuclei: 422,
    errors.InvalidCorrections: 422,
    errors.OtherCells: 409,
    errors.InvalidParameter: 422,
    errors.UnsuitableTiles: 422,
    errors.UnknownCluster: 404,
    errors.EngineUnavailable: 503,
    UnknownBundle: 404,
    NotReady: 503,
    KeysUnreadable: 503,
    NotWritten: 503,
    NotUnderRoot: 422,
    StoreUnavailable: 503,
    InvalidNamedCells: 422,
    NotInReview: 404,
    ReviewConflict: 409,
    ReviewUnavailable: 503,
    Busy: 503,
    TookTooLong: 504,
}

DESCRIPTIONS: Mapping[int, str] = {
    400: "The request is malformed: it has no multipart form, or the form has other fields than it should have; or its "
    "JSON is broken.",
    401: "The API key is missing or wrong. This happens only when the service has keys set.",
    403: "Another web page asked, or the service was asked under a name that is not its own.",
    404: "There is no such path, cluster, bundle, batch, tile or reviewer; or the service runs no batches, holds no "
    "review, or adapts no bundles; or the bundle has no report.",
    405: "The path does not have this method.",
    406: "The answer has none of the media types that the header Accept names.",
    408: "The body paused for too long, or arrived too slowly.",
    409: "The batch has ended already; or what the request relies on in the review, in a bundle, or among the cells of "
    "a tile, has changed.",
    413: "The body has too many bytes, the tile too many pixels, or there are too many nuclei.",
    414: "Path and query are too long.",
    415: "The upload is not a readable 8-bit PNG, JPEG or TIFF image, or the body is no multipart form, or no JSON.",
    416: "The file is shorter than the header Range asks.",
    422: "A parameter is unknown, given twice, or outside its range; or the nuclei, corrections or names that were "
    "sent cannot be used.",
    431: "The request has too many headers, or they are too long.",
    500: "Something unexpected went wrong, and the problem holds nothing but the id of the request; or a change was "
    "made that the audit log has no line of, and the problem says so.",
    503: "The service is busy or not ready. The header Retry-After holds the seconds to wait.",
    504: "The analysis took too long.",
}


def declare(*statuses: int) -> dict[int | str, dict[str, object]]:
    """Return the OpenAPI responses of a route for these statuses."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": DESCRIPTIONS[status], "content": content} for status in statuses}


def problem(request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the response for a problem.

    Args:
        request: the request that is refused.
        status: HTTP status.
        detail: what is wrong, in a sentence.
        headers: further headers; a 503 always has Retry-After.
    """
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, request_id=request.state.request_id)
    extra = {"Retry-After": RETRY_AFTER_S} if status == 503 else {}
    return JSONResponse(body.model_dump(), status, {**extra, **(headers or {})}, MEDIA_TYPE)


def install_problem_handlers(app: FastAPI) -> None:
    """Answer every error with a problem, the framework's own included."""

    async def refused(request: Request, error: Exception) -> JSONResponse:
        status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
        return problem(request, status, str(error))

    async def http_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)  # noqa: S101 - for mypy: the handler is registered for it alone
        if isinstance(error.__cause__, MemoryError):  # FastAPI reports it as a malformed form
            return await out_of_memory(request, error.__cause__)
        headers = {**(error.headers or {}), **_allow(request)} if error.status_code == 405 else error.headers
        return problem(request, error.status_code, str(error.detail), headers)

    async def out_of_memory(request: Request, error: Exception) -> JSONResponse:
        log.error("request %s ran out of memory", request.state.request_id, exc_info=error)
        return problem(request, 503, "There is too little memory for this now; try again later.")

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - for mypy: the handler is registered for it alone
        first = error.errors()[0]
        if first["loc"][0] != "body":
            name = ".".join(str(part) for part in first["loc"][1:])
            found = repr(first["input"])[:MAX_SHOWN]
            return problem(request, 422, f"Parameter {name}: {first['msg']}, found {found}.")
        return problem(request, *await _body_refusal(request, first))

    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("request %s failed", request.state.request_id, exc_info=error)
        # This answer is made outside all middleware, so its headers are set here.
        return problem(request, 500, "The request failed unexpectedly.", safe_headers(request.state.request_id))

    for kind in STATUS:
        app.add_exception_handler(kind, refused)
    app.add_exception_handler(MemoryError, out_of_memory)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unexpected)


async def _body_refusal(request: Request, error: Mapping[str, Any]) -> tuple[int, str]:
    """Return status and detail for a body that is refused, by the first error that pydantic found."""
    kind, route = request.headers.get("content-type", "").lower(), request.scope["route"]
    if route.takes_json:
        return _json_refusal(kind, error)
    if not kind.startswith("multipart/form-data"):
        field = route.form_names[0]
        what = "image" if field == "tile" else "file"
        return 415, f"The body must be multipart/form-data with the {what} in the field `{field}`."
    return 400, form_refusal(request, await request.form())


def _json_refusal(content_type: str, error: Mapping[str, Any]) -> tuple[int, str]:
    """Return status and detail for a body of JSON that is refused.

    Args:
        content_type: header of the request, in lower case.
        error: the first error that pydantic found.
    """
    if not re.match(r"application/(json|[^;]+\+json)\s*(;|$)", content_type):
        return 415, "The body must be JSON, and the header Content-Type application/json."
    if error["type"] == "json_invalid":
        return 400, f"The body is not JSON: {error['ctx']['error']} at character {error['loc'][-1]}."
    where = ".".join(str(part) for part in error["loc"][1:])
    message = error["msg"].removeprefix("Value error, ").rstrip(".")
    if error["type"] == "extra_forbidden":
        message = "There is no such field"
    return 422, f"{f'Field {where}' if where else 'The body'}: {message}."


def _allow(request: Request) -> dict[str, str]:
    """Return the header Allow with every method of the path. The framework knows only those of the first route."""
    path = getattr(request.scope.get("route"), "path_format", None)
    methods = request.app.openapi()["paths"].get(path, {})
    return {"Allow": ", ".join(sorted(method.upper() for method in methods))} if methods else {}
