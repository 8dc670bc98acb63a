"""`python -m reliability contract`: compares the running service with its openapi.json.

schemathesis generates the requests and makes all of its checks: no status is 5xx; statuses, media types and headers are
declared; bodies fit their schemas; well-formed requests are accepted, malformed ones and wrong methods are refused; and
a key is required.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.access.keys import add_key
from bench import ROOT
from bench.server import Server, serving
from reliability.contract_hooks import KEYED

PER_EXAMPLE = 12
"""Least number of requests that schemathesis sends for each example of an operation that it is asked for."""
QUICK_CASES = 250
REQUEST_TIMEOUT_S = 120
"""Longer than the service may take, so that a busy machine makes no error."""


def measure(*, quick: bool, cases: int = 5000) -> dict[str, Any]:
    """Check the service, with half of the requests without keys and half with a key.

    Args:
        quick: send QUICK_CASES requests instead of `cases`.
        cases: least number of requests.

    Returns:
        Figures of each half, and their sums.

    Raises:
        RuntimeError: schemathesis did not finish.
    """
    wanted = (QUICK_CASES if quick else cases) // 2
    with serving() as server:
        halves = [{"service": "without keys", **_check(server, wanted, {})}]
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys.json"
        token = add_key(keys, "contract")
        with serving(MARROWSCOPE_KEYS_FILE=str(keys)) as server:
            halves.append({"service": "with a key", **_check(server, wanted, {"X-API-Key": token})})
    return {
        "halves": halves,
        "cases": sum(half["cases"] for half in halves),
        "failures": sum(half["failures"] for half in halves),
    }


def _check(server: Server, wanted: int, headers: Mapping[str, str]) -> dict[str, Any]:
    """Run schemathesis with one seed after the other until there are enough requests."""
    cases, accepted, found, seeds = 0, 0, [], 0
    while cases < wanted:
        answer = _schemathesis(server, max(1, wanted // PER_EXAMPLE), seeds, headers)
        seeds += 1
        cases += answer["test_cases"]["generated"]
        found += answer["failures"] + answer["errors"]
        phases = answer["valid_rates"]["POST /analyze"].values()
        accepted += sum(phase["accepted"] for phase in phases)
    titles = sorted({f"{one.get('title')}: {', '.join(one.get('operations', []))}" for one in found})
    return {
        "cases": cases,
        "tiles_analysed": accepted,
        "seeds": seeds,
        "failures": len(found),
        "what": "; ".join(titles) or None,
    }


def _schemathesis(server: Server, examples: int, seed: int, headers: Mapping[str, str]) -> dict[str, Any]:
    """Run schemathesis once and return its report.

    Raises:
        RuntimeError: it did not finish; the message ends with the end of its output.
    """
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", "--checks", "all"]
    command += ["--seed", str(seed), "--max-examples", str(examples), "--generation-database", "none", "--no-color"]
    command += ["--request-timeout", str(REQUEST_TIMEOUT_S)]
    command += [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "reliability.contract_hooks", "PYTHONPATH": str(ROOT)}
    if headers:
        environment[KEYED] = "1"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        command += ["--continue-on-failure", "--report", "json", "--report-json-path", str(path)]
        # It leaves files in its working directory, so it is run in a temporary one.
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        answer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if done.returncode not in {0, 1} or not answer.get("complete"):
        raise RuntimeError(f"schemathesis failed:\n{(done.stdout + done.stderr)[-2000:]}")
    if done.returncode == 1:
        sys.stderr.write(done.stdout)
    return answer
