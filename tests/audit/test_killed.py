"""A service that is killed in the middle of its work: what it answered is in the log."""

import json
import threading

import httpx
import pytest

from app.audit.verify import verify
from tests.served import served

pytestmark = pytest.mark.slow


def post(address, tile, answered):
    """Post tiles until the service is gone."""
    try:
        with httpx.Client(base_url=address, timeout=30) as client:
            while True:
                response = client.post("/analyze", files={"tile": tile})
                if response.status_code == httpx.codes.OK:
                    answered.append(response.json())
    except httpx.TransportError:
        pass


def test_every_answer_that_was_given_is_in_the_log_of_a_service_that_was_killed(tmp_path, shipped_bundle):
    path, tile = tmp_path / "audit.jsonl", (shipped_bundle / "sample.png").read_bytes()
    answered = []
    for _ in range(3):
        with served(audit_log=path, threads=1) as (process, address):
            clients = [threading.Thread(target=post, args=(address, tile, answered)) for _ in range(4)]
            for client in clients:
                client.start()
            seen = len(answered)
            while len(answered) < seen + 8:
                assert process.poll() is None
                clients[0].join(0.05)
            process.kill()
            for client in clients:
                client.join()
    assert verify([path]).is_intact
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    logged = {line["request_id"]: line["answer"] for line in lines if line["status"] == httpx.codes.OK}
    assert len(answered) >= 24
    for answer in answered:
        assert logged[answer["request_id"]]["result_sha256"] == answer["result_sha256"]
