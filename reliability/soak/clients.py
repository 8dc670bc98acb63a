"""Clients that keep a tally: every request gets exactly one whole answer, and the one that it gets without any load."""

from __future__ import annotations

import http.client
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from time import monotonic, perf_counter
from urllib.parse import urlsplit

from reliability.normal_client import stable
from reliability.soak.requests import Case

PATIENCE_S = 60
"""Longest wait for an answer, and longest time in which a client retries after broken connections."""
PAUSE_S = 0.05
"""Wait after a broken connection."""
BUSY_PATIENCE_S = 600
"""Longest time in which a client retries after 503s: with more clients than places, one may be refused many times."""

Address = tuple[str, int]
Expected = Mapping[str, tuple[object, ...]]
"""The right answer of each case, by its name."""


@dataclass(frozen=True)
class Answer:
    """One whole answer.

    Attributes:
        status: HTTP status.
        media_type: Content-Type header.
        body: every byte of the body.
        request_id: X-Request-ID header.
        retry_after_s: Retry-After header in seconds; None if there is none.
    """

    status: int
    media_type: str | None
    body: bytes
    request_id: str | None
    retry_after_s: float | None

    @property
    def same(self) -> tuple[object, ...]:
        """What must be the same in every answer to one case."""
        is_json = (self.media_type or "").endswith("json") and self.body != b""
        return self.status, self.media_type, stable(self.body) if is_json else self.body


class Connection:
    """A connection that is kept for the next request, as browsers and notebooks do.

    Args:
        address: host and port.

    Attributes:
        sent_at: `monotonic` time at which the last byte of the latest request was sent; None if it was not.
    """

    def __init__(self, address: Address) -> None:
        self.sent_at: float | None = None
        self._address = address
        self._socket: socket.socket | None = None

    def ask(self, case: Case) -> Answer | None:
        """Send a request and read its answer; return None if the case makes the client hang up.

        Raises:
            OSError, http.client.HTTPException: there was no answer, or not a whole one.
        """
        self.sent_at = None
        if case.hang_up is not None:
            self._hang_up(case)
            return None
        if self._socket is None:
            self._socket = socket.create_connection(self._address, PATIENCE_S)
        is_kept = False
        try:
            self._socket.sendall(case.raw)
            self.sent_at = monotonic()
            response = http.client.HTTPResponse(self._socket, method=case.method)
            response.begin()
            body = response.read()
            is_kept = not response.will_close
        finally:
            if not is_kept:
                self.close()
        wait = response.headers.get("Retry-After")
        return Answer(
            response.status,
            response.headers.get("Content-Type"),
            body,
            response.headers.get("X-Request-ID"),
            None if wait is None else float(wait),
        )

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _hang_up(self, case: Case) -> None:
        with socket.create_connection(self._address, PATIENCE_S) as leaving:
            leaving.sendall(case.raw[: len(case.raw) // 2] if case.hang_up == "in the body" else case.raw)
            if case.hang_up == "in the answer":
                leaving.recv(1000)


def address_of(url: str) -> Address:
    """Return host and port of a URL."""
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 80)


@dataclass
class Tally:
    """The fate of the requests of all clients.

    Attributes:
        statuses: counts of the statuses of all answers, including 503s after which the request was sent again.
        right: number of answers that equal the one that the same request got without any load.
        wrong: names of the cases that got another answer.
        lost: names of the cases without a whole answer, and the error.
        hung_up: number of requests whose client hung up.
        retried: number of 503s after which the request was sent again.
        broken: number of broken connections after which the request was sent again.
        seconds: duration of each right answer.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    right: int = 0
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    hung_up: int = 0
    retried: int = 0
    broken: int = 0
    seconds: list[float] = field(default_factory=list)
    _ids: set[str | None] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, case: Case, answer: Answer, expected: tuple[object, ...], seconds: float) -> None:
        """Count a final answer; an id that another answer had makes it wrong, as it belongs to another request."""
        is_right = answer.same == expected
        with self._lock:
            self.statuses[answer.status] += 1
            is_first = answer.request_id not in self._ids
            self._ids.add(answer.request_id)
            if is_right and is_first:
                self.right += 1
                self.seconds.append(seconds)
            else:
                self.wrong.append(f"{case.name}: {answer.status}" if is_first else f"{case.name}: another's answer")

    def count_retry(self, answer: Answer) -> None:
        """Count a 503 with Retry-After."""
        with self._lock:
            self.statuses[answer.status] += 1
            self.retried += 1

    def count_broken(self) -> None:
        """Count a broken connection after which the request is sent again."""
        with self._lock:
            self.broken += 1

    def count_lost(self, case: Case, error: Exception) -> None:
        """Count a request without a whole answer."""
        with self._lock:
            self.lost.append(f"{case.name}: {type(error).__name__}")

    def count_hung_up(self) -> None:
        """Count a client that hung up on purpose."""
        with self._lock:
            self.hung_up += 1


def ask_alone(address: Address, cases: Sequence[Case]) -> dict[str, tuple[object, ...]]:
    """Return the right answer of every case: each is sent twice while nothing else is.

    Raises:
        RuntimeError: both answers differ, one is a 5xx, or a good request is refused.
    """
    connection, expected = Connection(address), {}
    for case in cases:
        if case.hang_up is not None:
            continue
        first, second = connection.ask(case), connection.ask(case)
        if first is None or second is None or first.same != second.same or first.status >= _first_bad_status(case):
            found = [answer.status if answer else None for answer in (first, second)]
            raise RuntimeError(f"{case.name} has no steady answer, found the statuses {found}.")
        expected[case.name] = first.same
    connection.close()
    return expected


def _first_bad_status(case: Case) -> int:
    return HTTPStatus.MULTIPLE_CHOICES if case.is_good else HTTPStatus.INTERNAL_SERVER_ERROR


def settle(connection: Connection, case: Case, expected: Expected, tally: Tally, *, is_patient: bool = False) -> None:
    """Send one request until it has its answer: after a 503 it is sent again when its Retry-After has passed.

    Args:
        connection: connection to the server.
        case: the request.
        expected: the right answers.
        tally: counts the outcome.
        is_patient: whether to send the request again after a broken connection, too.
    """
    deadline, too_late = monotonic() + PATIENCE_S, monotonic() + BUSY_PATIENCE_S
    while True:
        start = perf_counter()
        try:
            answer = connection.ask(case)
        except (OSError, http.client.HTTPException) as error:
            if not is_patient or monotonic() > deadline:
                tally.count_lost(case, error)
                return
            tally.count_broken()
            time.sleep(PAUSE_S)
            continue
        if answer is None:
            tally.count_hung_up()
            return
        if answer.retry_after_s is None or answer.status != HTTPStatus.SERVICE_UNAVAILABLE or monotonic() > too_late:
            tally.count(case, answer, expected[case.name], perf_counter() - start)
            return
        tally.count_retry(answer)
        # The server may close a connection that is not used meanwhile.
        connection.close()
        time.sleep(answer.retry_after_s)


@contextmanager
def under_load(
    address: Address,
    cases: Sequence[Case],
    expected: Expected,
    tally: Tally,
    *,
    clients: int,
    seed: int = 0,
    is_patient: bool = False,
) -> Iterator[None]:
    """Run clients while the context lasts; each sends one request after the other and finishes its last one.

    Args:
        address: host and port of the server.
        cases: requests, drawn at random by their weights.
        expected: their right answers.
        tally: counts the outcomes.
        clients: number of clients.
        seed: seed of the draws.
        is_patient: see `settle`.
    """
    is_over = threading.Event()

    def client(number: int) -> None:
        draws, connection = random.Random(f"{seed} {number}"), Connection(address)
        weights = [case.weight for case in cases]
        while not is_over.is_set():
            settle(connection, draws.choices(cases, weights)[0], expected, tally, is_patient=is_patient)
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
