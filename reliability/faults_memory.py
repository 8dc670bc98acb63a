"""Memory runs out in the middle of a tile (RLIMIT_AS, setrlimit(2)), and is there again later."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.process import rss_mb
from bench.tiles import drawn, mirrored, to_png
from reliability.faults_case import OK, UNAVAILABLE, Healthy, ask, detail, finding, is_ready
from reliability.faults_server import Started, started
from reliability.requests_mix import Case, post

LARGE_PX = 2_800
"""Side of a tile that needs half a gigabyte."""
ROOM_MB = (8, 16, 24, 40, 80, 160, 240, 320, 400, 480)
"""Address space that is left when the tile comes: memory runs out in one stage after another."""
QUICK_ROOM_MB = (8, 24, 320)
EXPECTED = (str(UNAVAILABLE), str(OK), detail(None))


def runs_out(right: Healthy, *, quick: bool) -> Iterator[dict[str, Any]]:
    """A large tile, each time with other room; afterwards the sample, with room again."""
    large = post("large", to_png(mirrored(drawn(900, seed=1), LARGE_PX)))
    said: Counter[str] = Counter()
    n_right, rooms = 0, QUICK_ROOM_MB if quick else ROOM_MB
    with started() as server:
        for room in rooms:
            said[_ask_in(room, server, large)] += 1
            n_right += right.is_right(ask(server.address, right.sample))
        is_alive = is_ready(server.address)
        memory = rss_mb(server.process.pid)
    yield finding(
        f"memory runs out {len(rooms)}× in a tile of {LARGE_PX} × {LARGE_PX}",
        "503, or a broken connection where not even the request fits; it lives on, and is right again later",
        ", ".join(f"{n}× {what}" for what, n in said.items()),
        kept=is_alive and n_right == len(rooms) and all(what.startswith(EXPECTED) for what in said),
        right=n_right,
        wrong=len(rooms) - n_right,
        lost=0,
        broken=said[detail(None)],
        rss_mb=memory,
    )


def _ask_in(room_mb: int, server: Started, case: Case) -> str:
    """What the answer said with so much address space left; the limit is lifted again."""
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + room_mb * 2**20
    no_limit = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(server.process.pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    try:
        return detail(ask(server.address, case))
    finally:
        if server.process.poll() is None:
            resource.prlimit(server.process.pid, resource.RLIMIT_AS, no_limit)
