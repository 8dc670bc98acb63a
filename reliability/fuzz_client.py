"""Sends a request as it is, byte for byte, and judges what comes back."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from time import perf_counter
from typing import Any

from reliability.fuzz_requests import Ask

PATIENCE_S = 90
PROBLEM = "application/problem+json"
PAGE = frozenset({200, 404, 405, 414})
"""Of a path that openapi.json does not have: that of the page, or none."""


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        status: of HTTP; None: no answer.
        seconds: from before the connection was made until the end of the answer.
        fault: what the service has done wrong; None: nothing.
        body: of the answer.
    """

    status: int | None
    seconds: float
    fault: str | None
    body: bytes = b""


class Judge:
    """Knows what the service has declared.

    Args:
        document: its openapi.json.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._paths = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", template)), methods)
            for template, methods in document["paths"].items()
        ]

    def fault(self, ask: Ask, response: HTTPResponse, body: bytes) -> str | None:
        """What is wrong with an answer; None: nothing."""
        status, media_type = response.status, (response.getheader("Content-Type") or "").partition(";")[0]
        if status >= 500:
            return f"status {status}"
        if not ask.is_whole:
            return None  # Damage may have made anything of it, and the HTTP parser has an answer of its own.
        if not response.getheader("X-Request-ID"):
            return f"status {status} without X-Request-ID"
        declared = self._declared(ask)
        if declared is None:
            return None if status in PAGE else f"status {status} of a path that is not declared"
        if str(status) not in declared:
            return f"status {status}, which is not declared"
        if media_type not in declared[str(status)]["content"]:
            return f"status {status} as {media_type}, which is not declared"
        if media_type == PROBLEM and json.loads(body)["status"] != status:
            return f"a problem of another status than {status}"
        return None

    def _declared(self, ask: Ask) -> Mapping[str, Any] | None:
        """Responses of the operation; None where there is none."""
        for template, methods in self._paths:
            if template.fullmatch(ask.path) and ask.method.lower() in methods:
                found: Mapping[str, Any] = methods[ask.method.lower()]["responses"]
                return found
        return None


def send(port: int, ask: Ask, judge: Judge) -> Answer:
    """Send one request on a connection of its own, and wait for the answer.

    Args:
        port: of the service, on 127.0.0.1.
        ask: the request.
        judge: of the answer.
    """
    start = perf_counter()
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
            connection.sendall(ask.data)
            if not ask.is_whole:
                # The service takes the end of what is sent for a client that has left.
                connection.shutdown(socket.SHUT_WR)
            response = HTTPResponse(connection, method=ask.method)
            response.begin()
            body = response.read()
    except (OSError, HTTPException) as error:
        return Answer(None, perf_counter() - start, f"no answer: {error!r}" if ask.is_whole else None)
    return Answer(response.status, perf_counter() - start, judge.fault(ask, response, body), body)
