"""Faults of processes: a worker is killed, or the service gets SIGTERM, while clients wait for answers."""

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

from bench import BUNDLE
from reliability.faults.service import (
    OK,
    Healthy,
    Started,
    counts,
    finding,
    seconds_until_ready,
    started,
    wait_until,
    workers_of,
)
from reliability.soak.clients import Address, Connection, Tally, under_load

CLIENTS = 8
LOAD_S = 2.0
WORKERS = 2
DRAIN_S = 30
"""Longest time in which the service has to end after SIGTERM."""
IN_FLIGHT_S = 1.0
"""A request whose last byte was sent this long before the signal counts as accepted by the service."""


def worker_killed(right: Healthy, *, times: int) -> Iterator[dict[str, Any]]:
    """Kill one of two workers several times while clients wait; they send a request again if the connection breaks."""
    tally, seconds = Tally(), []
    with started("--processes", str(WORKERS)) as server:
        wait_until(lambda: _loaded(server) == WORKERS)
        seconds_until_ready(server.address)
        with under_load(server.address, right.cases, right.expected, tally, clients=CLIENTS, is_patient=True):
            time.sleep(LOAD_S)
            for _ in range(times):
                seconds.append(_kill_worker(server))
                time.sleep(LOAD_S)
    yield finding(
        f"kill -9 of one of {WORKERS} workers under load, {times}×",
        "the other worker answers, the killed one is replaced, and clients that send again lose nothing",
        f"replaced after {max(seconds):.1f} s at most",
        kept=tally.right > 0 and not tally.wrong and not tally.lost,
        seconds=max(seconds),
        **counts(tally),
    )


def terminated(right: Healthy, *options: str) -> Iterator[dict[str, Any]]:
    """Send SIGTERM while clients wait that send each request once: whatever was accepted has to be answered."""
    fate: Counter[str] = Counter()
    signalled = threading.Event()
    with started(*options) as server:
        seconds_until_ready(server.address)
        signalled_at: list[float] = []
        clients = [
            threading.Thread(target=_ask_until_end, args=(server.address, right, signalled, signalled_at, fate))
            for _ in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        time.sleep(LOAD_S)
        signalled_at.append(monotonic())
        server.process.send_signal(signal.SIGTERM)
        signalled.set()
        for client in clients:
            client.join()
        try:
            server.process.wait(DRAIN_S)
        except subprocess.TimeoutExpired:
            fate["did not end"] += 1
        seconds = monotonic() - signalled_at[0]
    yield finding(
        " ".join(("SIGTERM under load", *options)),
        f"every accepted request is answered, and the service ends within {DRAIN_S} s",
        f"{fate['not accepted']} requests came too late and were not accepted",
        kept=fate["right"] > 0 and not (fate["wrong"] or fate["lost"] or fate["did not end"]),
        right=fate["right"],
        wrong=fate["wrong"],
        lost=fate["lost"],
        seconds=seconds,
    )


def _kill_worker(server: Started) -> float:
    """Kill a worker, and return the seconds until a new one has loaded the bundle."""
    n_loaded = _loaded(server)
    os.kill(workers_of(server)[0], signal.SIGKILL)

    def is_replaced() -> bool:
        return _loaded(server) > n_loaded

    return wait_until(is_replaced)


def _loaded(server: Started) -> int:
    """Return how many workers have loaded the bundle so far, according to the log."""
    return sum(f"bundle {BUNDLE.name} loaded" in line for line in server.log)


def _ask_until_end(
    address: Address, right: Healthy, signalled: threading.Event, signalled_at: list[float], fate: Counter[str]
) -> None:
    """Send the sample again and again until the service ends; each request is counted once."""
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
            is_accepted = connection.sent_at is not None and connection.sent_at < signalled_at[0] - IN_FLIGHT_S
            fate["lost" if is_accepted else "not accepted"] += 1
            return
