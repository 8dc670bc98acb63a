"""A client that keeps count: every request gets exactly one whole answer, and the one that it got when it was alone."""

from __future__ import annotations

import http.client
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from time import monotonic, perf_counter

from reliability.requests_mix import Case
from reliability.serving import stable

PATIENCE_S = 60
Address = tuple[str, int]


@dataclass(frozen=True)
class Answer:
    """One whole answer.

    Attributes:
        status: of HTTP.
        media_type: Content-Type.
        body: every byte.
        request_id: the X-Request-ID.
        retry_after_s: seconds; None where the header is missing.
    """

    status: int
    media_type: str | None
    body: bytes
    request_id: str | None
    retry_after_s: float | None

    @property
    def same(self) -> tuple[object, ...]:
        """What must be the same in every answer to this case."""
        is_json = (self.media_type or "").endswith("json") and self.body != b""
        return self.status, self.media_type, stable(self.body) if is_json else self.body


class Connection:
    """A connection that is kept for the next request, as browsers and notebooks do.

    Args:
        address: host and port.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._socket: socket.socket | None = None

    def ask(self, case: Case) -> Answer | None:
        """Send the request and read its answer; None where the client hangs up as the case wants it.

        Raises:
            OSError, http.client.HTTPException: there was no answer, or not the whole of it.
        """
        if case.hang_up is not None:
            self._hang_up(case)
            return None
        if self._socket is None:
            self._socket = socket.create_connection(self._address, PATIENCE_S)
        is_kept = False
        try:
            self._socket.sendall(case.raw)
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
        """Close it; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _hang_up(self, case: Case) -> None:
        with socket.create_connection(self._address, PATIENCE_S) as leaving:
            leaving.sendall(case.raw[: len(case.raw) // 2] if case.hang_up == "in the body" else case.raw)
            if case.hang_up == "in the answer":
                leaving.recv(1000)


@dataclass
class Tally:
    """What became of the requests of all clients.

    Attributes:
        statuses: of every answer, the 503s that were asked again included.
        right: answers that are what the same request got alone.
        wrong: names of the cases whose answer was another.
        lost: names of the cases without a whole answer, with what happened.
        hung_up: requests whose client left.
        retried: 503s after which the request was sent again.
        seconds: of the answers that were right.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    right: int = 0
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    hung_up: int = 0
    retried: int = 0
    seconds: list[float] = field(default_factory=list)
    _ids: set[str | None] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, case: Case, answer: Answer, expected: tuple[object, ...], seconds: float) -> None:
        """An answer that is kept; one whose id another answer had belongs to another request."""
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
        """A 503 that says when to come again."""
        with self._lock:
            self.statuses[answer.status] += 1
            self.retried += 1

    def count_lost(self, case: Case, error: Exception) -> None:
        """No whole answer."""
        with self._lock:
            self.lost.append(f"{case.name}: {type(error).__name__}")

    def count_hung_up(self) -> None:
        """The client left as it meant to."""
        with self._lock:
            self.hung_up += 1


def ask_alone(address: Address, cases: Sequence[Case]) -> dict[str, tuple[object, ...]]:
    """The right answer of every case: each is asked twice, with nothing beside it.

    Raises:
        RuntimeError: both answers differ, or it is a 5xx.
    """
    connection, expected = Connection(address), {}
    for case in cases:
        if case.hang_up is not None:
            continue
        first, second = connection.ask(case), connection.ask(case)
        if (
            first is None
            or second is None
            or first.same != second.same
            or first.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        ):
            raise RuntimeError(f"{case.name} has no steady answer: {first} and then {second}")
        expected[case.name] = first.same
    connection.close()
    return expected


def settle(connection: Connection, case: Case, expected: Mapping[str, tuple[object, ...]], tally: Tally) -> None:
    """One request until it has its answer: a 503 with Retry-After is asked again then."""
    try:
        while True:
            start = perf_counter()
            answer = connection.ask(case)
            if answer is None:
                tally.count_hung_up()
                return
            is_busy = answer.status == HTTPStatus.SERVICE_UNAVAILABLE and answer.retry_after_s is not None
            if not is_busy:
                tally.count(case, answer, expected[case.name], perf_counter() - start)
                return
            tally.count_retry(answer)
            # A connection that nobody uses may be closed meanwhile.
            connection.close()
            time.sleep(answer.retry_after_s or 0)
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        tally.count_lost(case, error)


def run_clients(
    address: Address,
    cases: Sequence[Case],
    expected: Mapping[str, tuple[object, ...]],
    tally: Tally,
    *,
    clients: int,
    seconds: float,
    seed: int,
    on_tick: Callable[[], None],
    tick_s: float,
) -> None:
    """So many clients, each of which asks one thing after the other, until the time is up.

    Args:
        address: of the server.
        cases: each client draws from them by weight.
        expected: the right answer of each, by name.
        tally: what became of the requests.
        clients: how many.
        seconds: after which no request is begun.
        seed: of the draws.
        on_tick: called again and again meanwhile.
        tick_s: between two calls.
    """
    end = monotonic() + seconds

    def client(number: int) -> None:
        draws, connection = random.Random(f"{seed} {number}"), Connection(address)
        weights = [case.weight for case in cases]
        while monotonic() < end:
            settle(connection, draws.choices(cases, weights)[0], expected, tally)
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        on_tick()
        time.sleep(tick_s)
