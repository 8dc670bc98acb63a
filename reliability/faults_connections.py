"""More connections than the service may have files open."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from reliability.faults_case import Healthy, ask, finding, seconds_until_ready
from reliability.faults_server import started

FILES = 64
IDLE = 200
N_AFTER = 5


def files_run_out(right: Healthy) -> Iterator[dict[str, Any]]:
    """Silent connections take every file that the service may open, and are closed again."""
    limit = (FILES, FILES)
    with started(before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limit)) as server:
        seconds_until_ready(server.address)
        with ExitStack() as idle:
            for _ in range(IDLE):
                idle.enter_context(socket.create_connection(server.address))
        seconds = seconds_until_ready(server.address)
        answers = [ask(server.address, right.sample) for _ in range(N_AFTER)]
    n_right, n_lost = sum(map(right.is_right, answers)), answers.count(None)
    yield finding(
        f"{IDLE} silent connections to a service that may open {FILES} files",
        "when they are gone, it answers rightly again",
        f"ready after {seconds:.1f} s",
        kept=n_right == N_AFTER,
        right=n_right,
        wrong=N_AFTER - n_right - n_lost,
        lost=n_lost,
        seconds=seconds,
    )
