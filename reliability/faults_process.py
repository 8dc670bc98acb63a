"""A worker is killed, or the service is told to end, while clients are waiting."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from time import monotonic
from typing import Any

from bench.child import BUNDLE
from reliability.faults_case import OK, Healthy, counts, finding, seconds_until_ready
from reliability.faults_server import Started, started, wait_until, workers_of
from reliability.soak_client import Tally, under_load
from reliability.soak_wire import Address, Connection

CLIENTS = 8
LOAD_S = 2.0
WORKERS = 2
DRAIN_S = 30
"""Within which a service that is told to end has ended."""
IN_FLIGHT_S = 0.2
"""A request whose last byte was sent so long before the signal has reached the service."""


def worker_killed(right: Healthy, *, times: int) -> Iterator[dict[str, Any]]:
    """Kill -9 one of two workers, as often as is wanted, under clients that ask again where the connection broke."""
    tally, back = Tally(), []
    with started("--processes", str(WORKERS)) as server:
        wait_until(lambda: _loaded(server) == WORKERS)
        seconds_until_ready(server.address)
        with under_load(server.address, right.cases, right.expected, tally, clients=CLIENTS, is_patient=True):
            time.sleep(LOAD_S)
            for _ in range(times):
                back.append(_kill_one(server))
                time.sleep(LOAD_S)
    yield finding(
        f"kill -9 of one of {WORKERS} workers under load, {times}×",
        "the other answers, the killed one is replaced, clients that ask again lose nothing",
        f"back after {max(back):.1f} s at most",
        kept=tally.right > 0 and not tally.wrong and not tally.lost,
        seconds=max(back),
        **counts(tally),
    )


def told_to_end(right: Healthy, *options: str) -> Iterator[dict[str, Any]]:
    """SIGTERM under clients that ask once; what had reached the service must be answered."""
    fate: Counter[str] = Counter()
    signalled = threading.Event()
    with started(*options) as server:
        seconds_until_ready(server.address)
        begun: list[float] = []
        clients = [
            threading.Thread(target=_ask_until_end, args=(server.address, right, signalled, begun, fate))
            for _ in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        time.sleep(LOAD_S)
        begun.append(monotonic())
        server.process.send_signal(signal.SIGTERM)
        signalled.set()
        for client in clients:
            client.join()
        try:
            server.process.wait(DRAIN_S)
        except subprocess.TimeoutExpired:
            fate["did not end"] += 1
        seconds = monotonic() - begun[0]
    yield finding(
        " ".join(("SIGTERM under load", *options)),
        f"what was accepted is answered, and it ends within {DRAIN_S} s",
        f"{fate['not accepted']} came too late and were not accepted",
        kept=fate["right"] > 0 and not (fate["wrong"] or fate["lost"] or fate["did not end"]),
        right=fate["right"],
        wrong=fate["wrong"],
        lost=fate["lost"],
        seconds=seconds,
    )


def _kill_one(server: Started) -> float:
    """Seconds until another process has taken its place and loaded the bundle."""
    n_loaded = _loaded(server)
    os.kill(workers_of(server)[0], signal.SIGKILL)

    def is_replaced() -> bool:
        return _loaded(server) > n_loaded

    return wait_until(is_replaced)


def _loaded(server: Started) -> int:
    return sum(f"bundle {BUNDLE.name} loaded" in line for line in server.said)


def _ask_until_end(
    address: Address, right: Healthy, signalled: threading.Event, begun: list[float], fate: Counter[str]
) -> None:
    """Ask for the sample until the service goes; each request is counted once."""
    connection = Connection(address)
    while True:
        try:
            answer = connection.ask(right.sample)
            assert answer is not None
            fate["right" if right.is_right(answer) else "wrong"] += 1
            if answer.status != OK:
                return
        except (OSError, http.client.HTTPException):
            signalled.wait()
            is_accepted = connection.sent_at is not None and connection.sent_at < begun[0] - IN_FLIGHT_S
            fate["lost" if is_accepted else "not accepted"] += 1
            return
