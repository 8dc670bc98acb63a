"""What came back from the service: an answer, a problem, or neither."""

from __future__ import annotations

from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from app import __version__

Answer = TypeVar("Answer", bound=BaseModel)


class ServiceProblem(Exception):
    """What the service refused, or why no answer came from it; the text is the detail.

    Attributes:
        detail: what was wrong, in words.
        status: HTTP status; None: there was no answer.
        title: the status in words; None like status.
        request_id: what the service's log calls the request; None: the answer was not the service's.
        retry_after_s: s after which to try again; None: the answer did not say.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        title: str | None = None,
        request_id: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.title = title
        self.request_id = request_id
        self.retry_after_s = retry_after_s


def read_answer(model: type[Answer], response: httpx.Response) -> Answer:
    """The answer, without the fields that only a newer service knows.

    Raises:
        ServiceProblem: it is no such answer.
    """
    try:
        return model.model_validate_json(response.content, extra="ignore")
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        # The chain would show a page of what was wrong with each field.
        raise stranger(response, f"{where}: {first['msg']}" if where else first["msg"]) from None


def problem_of(response: httpx.Response) -> ServiceProblem:
    """What an answer that is not a success means."""
    # The whole pipeline comes with it, which takes longer than the rest of the client.
    from app.api.problems import Problem

    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        return stranger(response)
    after = response.headers.get("Retry-After", "")
    return ServiceProblem(
        problem.detail,
        status=problem.status,
        title=problem.title,
        request_id=problem.request_id,
        retry_after_s=int(after) if after.isdecimal() else None,
    )


def stranger(response: httpx.Response, reason: str = "") -> ServiceProblem:
    """An answer that this version of the service does not give."""
    found = reason or response.headers.get("Content-Type", "no content type")
    return ServiceProblem(
        f"{response.url.copy_with(userinfo=b'')} answered {response.status_code} {response.reason_phrase}, but not as "
        f"Marrowscope {__version__} does ({found}). Is a proxy, another program or another version at this address?",
        status=response.status_code,
        title=response.reason_phrase,
        request_id=response.headers.get("X-Request-ID"),
    )


def no_answer(error: httpx.RequestError, address: httpx.URL, timeout_s: float) -> ServiceProblem:
    """What it means that a request got no answer."""
    # Without the password that an address may hold.
    shown = address.copy_with(userinfo=b"")
    reason = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return ServiceProblem(
            f"No service can be reached at {shown} ({reason}). Start it with `make run` in its repository or with "
            "`marrowscope serve`, or give Client the url of one that runs."
        )
    if isinstance(error, httpx.TimeoutException):
        return ServiceProblem(f"{shown} gave no answer within {timeout_s:g} s; a larger timeout_s waits longer.")
    return ServiceProblem(f"The connection to {shown} broke off ({reason}); try again.")
