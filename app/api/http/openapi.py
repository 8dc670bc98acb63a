"""The OpenAPI document: what FastAPI knows of the routes, and what it cannot know of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from fastapi import FastAPI

from app.answer.schemas import Problem

Json = dict[str, Any]


def install_document(app: FastAPI) -> None:
    """Let the application serve `document` as its openapi.json."""
    app.openapi = partial(document, app)  # type: ignore[method-assign]


def document(app: FastAPI) -> Json:
    """Return the application's OpenAPI document, which is made once.

    The schema of problems is added here. If it were given to FastAPI as a response model, it would be declared as
    application/json as well.
    """
    if app.openapi_schema is None:
        schema = FastAPI.openapi(app)
        schema["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        for path in schema["paths"].values():
            for operation in path.values():
                _complete(operation, allowed=", ".join(sorted(method.upper() for method in path)))
        for form in _forms(schema):
            form["additionalProperties"] = False
            form["properties"] = {name: _sent(field) for name, field in form["properties"].items()}
        app.openapi_schema = schema
    return app.openapi_schema


def _sent(field: Json) -> Json:
    """Return the schema of a field of a form without null, which FastAPI adds to an optional one: it cannot be sent."""
    kinds = [kind for kind in field.get("anyOf", ()) if kind.get("type") != "null"]
    others = {name: value for name, value in field.items() if name != "anyOf"}
    return {**kinds[0], **others} if len(kinds) == 1 else field


def _complete(operation: Json, allowed: str) -> None:
    """Declare the headers of each response, and that no key is needed if the service has none set."""
    if "security" in operation:
        operation["security"].append({})
    for status, response in operation["responses"].items():
        response["headers"] = _headers(status, allowed)


def _headers(status: str, allowed: str) -> Json:
    """Return the headers that every response of this status has, by name."""
    found = {"X-Request-ID": _header("Id of the request; request_id in the answer is the same.", "[0-9a-f]{32}")}
    if status == "202":
        found["Location"] = _header(
            "Address that shows how far the batch is, or of the new bundle, relative to that of the request.",
            "((batches/)?[0-9a-f]{32}|bundles/[a-z0-9][a-z0-9_-]{0,63})",
        )
    if status == "401":
        found["WWW-Authenticate"] = _header("Name of the header that must hold a key.", "X-API-Key")
    if status == "405":
        found["Allow"] = _header("The methods that this path has.", allowed)
    if status == "503":
        found["Retry-After"] = _header("Seconds to wait before the next attempt.", "[0-9]+")
    return found


def _header(description: str, pattern: str) -> Json:
    return {"description": description, "required": True, "schema": {"type": "string", "pattern": f"^{pattern}$"}}


def _forms(schema: Json) -> Iterator[Json]:
    """Yield the schemas of multipart forms, which are to refuse fields that they do not declare."""
    for path in schema["paths"].values():
        for operation in path.values():
            body = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data", {"schema": {}})
            if "$ref" in body["schema"]:
                yield schema["components"]["schemas"][body["schema"]["$ref"].rpartition("/")[2]]
