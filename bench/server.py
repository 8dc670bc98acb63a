"""A real server, `marrowscope serve`, in a process of its own on a free port."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import perf_counter, sleep

import httpx

from bench.child import ROOT, clean_environment

PATIENCE_S = 60
POLL_S = 0.01


@dataclass(frozen=True)
class Server:
    """A server that is ready.

    Attributes:
        url: without a slash at its end.
        pid: of its process.
        ready_s: seconds from the start of the process to the first 200 of /readyz.
    """

    url: str
    pid: int
    ready_s: float


@contextmanager
def serving(**environment: str) -> Iterator[Server]:
    """Start the service, wait until it is ready, and end it afterwards.

    Args:
        environment: set beside `child.clean_environment`.

    Raises:
        RuntimeError: it ended or did not become ready; the text is the end of what it said.
    """
    port = _free_port()
    command = [sys.executable, "-m", "app", "serve", "--port", str(port)]
    with tempfile.TemporaryFile() as said:
        env = {**clean_environment(), **environment}
        start = perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=said, stderr=subprocess.STDOUT)
        try:
            url = f"http://127.0.0.1:{port}"
            if not _is_ready(url, process):
                said.seek(0)
                raise RuntimeError(f"The service did not become ready:\n{said.read().decode()[-2000:]}")
            yield Server(url, process.pid, perf_counter() - start)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


def _is_ready(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Ask until it says so, ends, or patience does."""
    end = perf_counter() + PATIENCE_S
    with httpx.Client(trust_env=False) as client:
        while process.poll() is None and perf_counter() < end:
            with suppress(httpx.TransportError):
                if client.get(f"{url}/readyz").status_code == 200:
                    return True
            sleep(POLL_S)
    return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
