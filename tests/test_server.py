import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from app.server import as_environment
from app.settings import Settings
from tests.conftest import REPOSITORY
from tests.served import served

PATIENCE_S = 60
SAMPLE = (REPOSITORY / "models" / "marrow" / "sample.png").read_bytes()


def test_processes_get_the_settings_through_the_environment(monkeypatch):
    given = Settings(
        host="0.0.0.0", bundles_dir="/a b", workers=3, body_timeout_s=2.5, without_keys=True, log_format="text"
    )
    variables = as_environment(given)
    assert "MARROWSCOPE_QUEUE" not in variables
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Settings() == given


def post(address):
    return httpx.post(f"{address}/analyze", files={"tile": SAMPLE}, timeout=PATIENCE_S, trust_env=False)


def post_until_answered(address):
    """As a client does that tries again where the connection broke."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            return post(address)
        time.sleep(0.1)
    raise AssertionError("No answer in time.")


def workers(parent):
    """Processes that answer, of a service of several."""
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in found if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_process_that_is_killed_under_load_is_replaced_and_nothing_is_lost():
    with served(processes=2) as (process, address), ThreadPoolExecutor(4) as pool:
        assert post_until_answered(address).status_code == 200
        first = workers(process.pid)
        assert len(first) == 2
        answers = [pool.submit(post_until_answered, address) for _ in range(30)]
        time.sleep(0.5)
        os.kill(first[0], signal.SIGKILL)
        assert {answer.result().status_code for answer in answers} == {200}
        deadline = time.monotonic() + PATIENCE_S
        while len(set(workers(process.pid)) - {first[0]}) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert first[1] in workers(process.pid)
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_what_was_accepted_is_answered_after_sigterm(processes):
    with served(processes=processes) as (process, address), ThreadPoolExecutor(8) as pool:
        assert post_until_answered(address).status_code == 200
        answers = [pool.submit(post, address) for _ in range(8)]
        time.sleep(0.3)  # All are there by now, and the first is not done.
        process.send_signal(signal.SIGTERM)
        start = time.monotonic()
        assert [answer.result().status_code for answer in answers] == [200] * 8
        process.wait(PATIENCE_S)
        assert time.monotonic() - start < 30
        with pytest.raises(httpx.ConnectError):
            post(address)
