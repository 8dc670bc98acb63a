"""The key in a request's header, and the routes that ask for it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.security import APIKeyHeader

from app.access.keyring import Keyring
from app.api.http.parameters import Route
from app.api.http.problems import declare
from app.api.http.sites import refuse_other_sites
from app.pipeline.errors import InvalidParameter
from app.review.names import ANYBODY, MAX_PERSON, checked_text

HEADER = "X-API-Key"
api_key = APIKeyHeader(
    name=HEADER, auto_error=False, description="Key of the client. It is needed only when the service has keys set."
)
"""Declares in openapi.json the key that `KeyedRoute` asks for."""


def require_key(request: Request) -> None:
    """Refuse a request without a valid key, if the service has keys.

    From then on `request.state.key_name` is the name of the request's key, or None if the service has no keys.

    Raises:
        HTTPException: 401, the request has no key, or one that is not valid.
        KeysUnreadable: the keys cannot be read, and nobody is let in.
    """
    keyring: Keyring = request.app.state.keyring
    request.state.key_name = None
    if not keyring.asks:
        return
    # The bytes of a header arrive decoded as latin-1.
    name = keyring.name_of(request.headers.get(HEADER, "").encode("latin-1"))
    if name is None:
        raise HTTPException(401, f"A valid key is needed in the header {HEADER}.", {"WWW-Authenticate": HEADER})
    request.state.key_name = name


def reviewer_of(request: Request, given: str | None) -> str:
    """Return who names or corrects cells: the name of the request's key, or else the name that was given.

    Raises:
        InvalidParameter: another name than that of the key was given, or one that cannot be a name.
    """
    key: str | None = request.state.key_name
    if key is None:
        return ANYBODY if given is None else checked_text(given, "The name of a reviewer", MAX_PERSON)
    if given not in (None, key):
        raise InvalidParameter("With a key, the reviewer is the name of the key; leave `reviewer` out.")
    return key


class KeyedRoute(Route):
    """A route that asks for a key before the body is read, and refuses other web pages.

    FastAPI would run a dependency only after the upload.
    """

    def before(self, request: Request) -> None:
        """Refuse a request of another page, without a key, or with wrong parameters.

        Raises:
            HTTPException: 403, 401 or 422.
            KeysUnreadable: the keys cannot be read, and nobody is let in.
        """
        refuse_other_sites(request)
        require_key(request)
        super().before(request)


def keyed_router(*statuses: int, **options: Any) -> APIRouter:
    """Return a router whose routes ask for a key.

    Args:
        statuses: refusals that every route declares besides those of every keyed route.
        options: other options of the router.
    """
    responses = declare(401, 403, *statuses, 405, 414, 422, 431, 500, 503)
    return APIRouter(route_class=KeyedRoute, dependencies=[Depends(api_key)], responses=responses, **options)
