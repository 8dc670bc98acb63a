"""A real server, `marrowscope serve`, in a process of its own on a free port."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep

import httpx

from bench import ROOT
from bench.process import clean_environment

PATIENCE_S = 60
"""Longest wait until the server is ready."""
POLL_S = 0.01
ADDRESS = re.compile(r"running on (http://[\d.]+:\d+)")


@dataclass(frozen=True)
class Server:
    """A server that is ready.

    Attributes:
        url: its address, without a slash at the end.
        pid: process id.
        ready_s: seconds from starting the process to the first 200 of /readyz.
    """

    url: str
    pid: int
    ready_s: float


@contextmanager
def serving(**environment: str) -> Iterator[Server]:
    """Start the service, wait until it is ready, and end it afterwards.

    Args:
        environment: variables to set in addition to `clean_environment`.

    Raises:
        RuntimeError: the process ended or did not become ready; the message ends with the end of its output.
    """
    # The system chooses a port that is free, and the service writes it to its log.
    command = [sys.executable, "-m", "app", "serve", "--port", "0"]
    with tempfile.NamedTemporaryFile() as output:
        env = {**clean_environment(), **environment}
        start = perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT)
        try:
            url = _wait_until_ready(process, Path(output.name))
            if url is None:
                raise RuntimeError(f"The service did not become ready:\n{Path(output.name).read_text()[-2000:]}")
            yield Server(url, process.pid, perf_counter() - start)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> str | None:
    """Poll /readyz until it answers 200, and return the address; None if the process ends or `PATIENCE_S` passes."""
    end, url = perf_counter() + PATIENCE_S, None
    with httpx.Client(trust_env=False) as client:
        while process.poll() is None and perf_counter() < end:
            if url is None:
                found = ADDRESS.search(log.read_text(encoding="utf-8"))
                url = found[1] if found else None
            else:
                with suppress(httpx.TransportError):
                    if client.get(f"{url}/readyz").status_code == 200:
                        return url
            sleep(POLL_S)
    return None
