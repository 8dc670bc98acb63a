"""Check that a cluster gives the results of this machine while a worker dies: `cluster.py ADDRESS OUTSIDE FACTS KILL…`.

KILL… is a command that kills one of the workers.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

PATIENCE_S = 600.0
OF_A_MACHINE = {"manifest.json", "progress.json", ".lock"}
"""Files that may differ: they hold paths, which are others in a container, or are no results."""


def wait_until(service: httpx.Client, batch: str, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Ask for a batch until a condition holds for it; end the program if it failed or took too long."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        found: dict[str, Any] = service.get(batch).raise_for_status().json()
        if is_so(found):
            return found
        if found["state"] in {"failed", "cancelled"}:
            break
        time.sleep(0.5)
    sys.exit(f"cluster: {found['state']}, {found['progress']}: {found['detail']}")


def compare(service: httpx.Client, batch: str, names: Sequence[str], outside: Path) -> int:
    """Return how many files are the same to the byte; end the program if one is not."""
    wanted = {path.relative_to(outside).as_posix() for path in outside.rglob("*") if path.is_file()} - OF_A_MACHINE
    if found := wanted ^ set(names) - OF_A_MACHINE:
        sys.exit(f"cluster: other files than outside: {sorted(found)}")
    for name in wanted:
        if service.get(f"{batch}/results/{name}").raise_for_status().content != (outside / name).read_bytes():
            sys.exit(f"cluster: {name} differs from that of this machine")
    return len(wanted)


def main(address: str, outside: Path, facts: Path, kill: Sequence[str]) -> None:
    """Run a batch, kill a worker when the first tiles are done, and record how the batch ended."""
    with httpx.Client(base_url=address, timeout=30) as service, facts.open("a", encoding="utf-8") as file:
        begin = time.monotonic()
        answer = service.post("/batches", files={"path": (None, "cohort")}).raise_for_status()
        batch = answer.headers["location"]
        killed = wait_until(service, batch, lambda found: found["progress"]["tiles_done"] > 0)["progress"]
        subprocess.run(kill, check=False)
        found = wait_until(service, batch, lambda found: found["state"] == "finished")
        print(f"tiles_done_when_a_worker_was_killed\t{killed['tiles_done']}", file=file)
        print(f"slides_done\t{found['progress']['slides_done']}", file=file)
        print(f"slides_failed\t{found['progress']['slides_failed']}", file=file)
        print(f"batch_seconds\t{time.monotonic() - begin:.1f}", file=file)
        names = [result["name"] for result in found["results"]]
        print(f"same_files_as_outside\t{compare(service, batch, names, outside)}", file=file)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
