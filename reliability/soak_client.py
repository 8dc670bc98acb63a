"""Clients that keep count: every request gets exactly one whole answer, and the one that it got when it was alone."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from time import monotonic, perf_counter

from reliability.requests_mix import Case
from reliability.soak_wire import PATIENCE_S, Address, Answer, Connection

PAUSE_S = 0.05
"""After a broken connection."""
BUSY_PATIENCE_S = 600
"""More clients ask than may wait: one of them may find every place taken many times."""
Expected = Mapping[str, tuple[object, ...]]
"""The right answer of each case, by its name."""


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
        broken: connections that broke, after which the request was sent again.
        seconds: of the answers that were right.
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

    def count_broken(self) -> None:
        """No answer, and another attempt."""
        with self._lock:
            self.broken += 1

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
        RuntimeError: both answers differ, or it is a 5xx, or a good request is refused.
    """
    connection, expected = Connection(address), {}
    for case in cases:
        if case.hang_up is not None:
            continue
        first, second = connection.ask(case), connection.ask(case)
        if first is None or second is None or first.same != second.same or first.status >= _worst(case):
            found = [answer.status if answer else None for answer in (first, second)]
            raise RuntimeError(f"{case.name} has no steady answer, found the statuses {found}.")
        expected[case.name] = first.same
    connection.close()
    return expected


def _worst(case: Case) -> int:
    return HTTPStatus.MULTIPLE_CHOICES if case.is_good else HTTPStatus.INTERNAL_SERVER_ERROR


def settle(connection: Connection, case: Case, expected: Expected, tally: Tally, *, is_patient: bool = False) -> None:
    """One request until it has its answer: a 503 is asked again when its Retry-After has passed.

    Args:
        connection: to the server.
        case: what to ask.
        expected: the right answers.
        tally: what became of it.
        is_patient: ask again where the connection broke, too.
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
        # The server may close a connection that nobody uses.
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
    """So many clients, each of which asks one thing after the other; at the end each waits for its last answer.

    Args:
        address: of the server.
        cases: each client draws from them by weight.
        expected: their right answers.
        tally: what became of the requests.
        clients: how many.
        seed: of the draws.
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
