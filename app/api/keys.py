"""The key in a request's header."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader

from app.access.keyring import Keyring

HEADER = "X-API-Key"
api_key = APIKeyHeader(name=HEADER, auto_error=False, description="Only when the service has keys set")
"""Says in openapi.json what `KeyedRoute` asks for."""


def require_key(request: Request) -> None:
    """Refuse a request without one of the keys, where keys are asked for.

    The name of its key, or None where no key is asked for, is `request.state.key_name` from then on.

    Raises:
        HTTPException: 401, there is no key or it is none of them.
        KeysUnreadable: nobody can be let in.
    """
    keyring: Keyring = request.app.state.keyring
    request.state.key_name = None
    if not keyring.asks:
        return
    # Header bytes arrive decoded as latin-1.
    name = keyring.name_of(request.headers.get(HEADER, "").encode("latin-1"))
    if name is None:
        raise HTTPException(401, f"A valid key is needed in the header {HEADER}.", {"WWW-Authenticate": HEADER})
    request.state.key_name = name


class KeyedRoute(APIRoute):
    """A route that asks for a key before it reads the body: a dependency is only met when the upload is there."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own handler, behind `require_key`."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            require_key(request)
            return await handle(request)

        return guarded
