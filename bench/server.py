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

from bench import ROOT
from bench.process import clean_environment

PATIENCE_S = 60
"""Longest wait until the server is ready."""
POLL_S = 0.01


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
    port = _free_port()
    command = [sys.executable, "-m", "app", "serve", "--port", str(port)]
    with tempfile.TemporaryFile() as output:
        env = {**clean_environment(), **environment}
        start = perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT)
        try:
            url = f"http://127.0.0.1:{port}"
            if not _becomes_ready(url, process):
                output.seek(0)
                raise RuntimeError(f"The service did not become ready:\n{output.read().decode()[-2000:]}")
            yield Server(url, process.pid, perf_counter() - start)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


def _becomes_ready(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Poll /readyz; False if the process ends or `PATIENCE_S` passes before it answers 200."""
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
