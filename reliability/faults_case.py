"""What a fault was promised to do, and what it did."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.tiles import drawn, to_png
from reliability.faults_server import started, wait_until
from reliability.requests_mix import Case, get, post
from reliability.serving import SAMPLE
from reliability.soak_client import Expected, Tally, ask_alone
from reliability.soak_wire import Address, Answer, Connection

READY = get("/readyz")
OK, UNAVAILABLE = 200, 503


@dataclass(frozen=True)
class Healthy:
    """Tiles, and the answers of a service that lacks nothing.

    Attributes:
        sample: the sample, as JSON.
        exact: the same, by the exact network.
        cases: these and a drawn tile.
        expected: their right answers, by name.
    """

    sample: Case
    exact: Case
    cases: list[Case]
    expected: Expected

    def is_right(self, answer: Answer | None) -> bool:
        """Whether it is the right one to the sample."""
        return answer is not None and answer.same == self.expected[self.sample.name]

    def has_right_clusters(self, answer: Answer | None) -> bool:
        """Whether the exact network, by whichever library, has put the same cells into the same clusters."""
        if answer is None or answer.status != OK:
            return False
        return clusters_in(answer.same[2]) == clusters_in(self.expected[self.exact.name][2])


def healthy() -> Healthy:
    """Ask a service that lacks nothing."""
    file = SAMPLE.read_bytes()
    sample, exact = post("sample", file), post("sample, full precision", file, "?precision=full")
    cases = [sample, exact, post("drawn", to_png(drawn(900, seed=1)[:400, :400]))]
    with started() as server:
        seconds_until_ready(server.address)
        return Healthy(sample, exact, cases, ask_alone(server.address, cases))


def clusters_in(answer: Any) -> list[tuple[int, list[float]]]:
    """Cluster and centre of every cell of a JSON answer."""
    return [(cell["cluster"], cell["centroid"]) for cell in answer["cells"]]


def ask(address: Address, case: Case) -> Answer | None:
    """One request on a connection of its own; None where there is no whole answer."""
    connection = Connection(address)
    try:
        return connection.ask(case)
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def detail(answer: Answer | None) -> str:
    """What a problem says."""
    if answer is None:
        return "no answer"
    body = answer.same[2]
    return f"{answer.status}: {body.get('detail', '') if isinstance(body, Mapping) else ''}"


def is_ready(address: Address) -> bool:
    """Whether /readyz says so."""
    answer = ask(address, READY)
    return answer is not None and answer.status == OK


def seconds_until_ready(address: Address) -> float:
    """Wait for it."""

    def it_is_ready() -> bool:
        return is_ready(address)

    return wait_until(it_is_ready)


def finding(fault: str, promised: str, happened: str, *, kept: bool, **figures: Any) -> dict[str, Any]:
    """One row of the table.

    Args:
        fault: what was done.
        promised: what the service does then.
        happened: what it did.
        kept: whether it kept the promise.
        figures: right, wrong, lost, seconds and the like.
    """
    return {"fault": fault, "promised": promised, "happened": happened, "kept": kept, **figures}


def counts(tally: Tally) -> dict[str, int]:
    """Of a tally, for `finding`."""
    return {
        "right": tally.right,
        "wrong": len(tally.wrong),
        "lost": len(tally.lost),
        "asked_again": tally.retried + tally.broken,
    }
