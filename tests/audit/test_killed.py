"""A service that is killed in the middle of its work: what it answered is in the log."""

import json
import threading

import httpx
import pytest

from app.audit.verify import verify
from tests.served import served
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.slow


def post(address, tile, answered):
    """Post tiles until the service is gone."""
    try:
        with httpx.Client(base_url=address, timeout=PATIENCE_S) as client:
            while True:
                response = client.post("/analyze", files={"tile": tile})
                if response.status_code == httpx.codes.OK:
                    answered.append(response.json())
    except httpx.TransportError:
        pass


def kill_while_it_answers(path, tile, answered):
    """Kill a service under the requests of four clients."""
    with served(audit_log=path, threads=1) as (process, address):
        clients = [threading.Thread(target=post, args=(address, tile, answered)) for _ in range(4)]
        for client in clients:
            client.start()
        enough = len(answered) + 8
        until(lambda: len(answered) >= enough)
        assert process.poll() is None
        process.kill()
        for client in clients:
            client.join(PATIENCE_S)


def test_every_answer_that_was_given_is_in_the_log_of_a_service_that_was_killed(tmp_path, shipped_bundle):
    path, tile = tmp_path / "audit.jsonl", (shipped_bundle / "sample.png").read_bytes()
    answered = []
    for _ in range(3):
        kill_while_it_answers(path, tile, answered)
    assert verify([path]).is_intact
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    logged = {line["request_id"]: line["answer"] for line in lines if line["status"] == httpx.codes.OK}
    assert len(answered) >= 24
    for answer in answered:
        assert logged[answer["request_id"]]["result_sha256"] == answer["result_sha256"]
