"""`python -m reliability contract`: the running service against its openapi.json, in requests made up by schemathesis.

Every check of schemathesis: no 5xx, only declared statuses, media types and headers, bodies as their schemas say,
well-formed requests accepted, malformed ones refused, wrong methods refused, keys asked for.
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
from bench.child import ROOT
from reliability.contract_hooks import KEYED
from reliability.serving import Server, serving

PER_EXAMPLE = 12
"""Cases, at least, for each example of an operation that schemathesis is asked for."""
QUICK_CASES = 500


def measure(*, quick: bool, cases: int = 5000) -> dict[str, Any]:
    """Ask the service, half of the times without keys and half with one.

    Args:
        quick: QUICK_CASES in place of `cases`.
        cases: requests, at least.

    Returns:
        Figures of each half, and their sums.

    Raises:
        RuntimeError: schemathesis could not do its work.
    """
    wanted = (QUICK_CASES if quick else cases) // 2
    with serving() as server:
        halves = [{"service": "without keys", **_asked(server, wanted, {})}]
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys.json"
        token = add_key(keys, "contract")
        with serving(MARROWSCOPE_KEYS_FILE=str(keys)) as server:
            halves.append({"service": "with a key", **_asked(server, wanted, {"X-API-Key": token})})
    return {
        "halves": halves,
        "cases": sum(half["cases"] for half in halves),
        "failures": sum(half["failures"] for half in halves),
    }


def _asked(server: Server, wanted: int, headers: Mapping[str, str]) -> dict[str, Any]:
    """Runs with one seed after the other, until there are enough cases."""
    cases, accepted, found, seeds = 0, 0, [], 0
    while cases < wanted:
        answer = _run(server, max(1, wanted // PER_EXAMPLE), seeds, headers)
        seeds += 1
        cases += answer["test_cases"]["generated"]
        found += answer["failures"] + answer["errors"]
        phases = answer["valid_rates"]["POST /analyze"].values()
        accepted += sum(phase["accepted"] for phase in phases)
    what = sorted({f"{one.get('title')}: {', '.join(one.get('operations', []))}" for one in found})
    return {
        "cases": cases,
        "tiles_analysed": accepted,
        "seeds": seeds,
        "failures": len(found),
        "what": "; ".join(what) or None,
    }


def _run(server: Server, examples: int, seed: int, headers: Mapping[str, str]) -> dict[str, Any]:
    """One run of schemathesis: its report.

    Raises:
        RuntimeError: it was not carried through; the text is the end of what it said.
    """
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", "--checks", "all"]
    command += ["--seed", str(seed), "--max-examples", str(examples), "--generation-database", "none", "--no-color"]
    command += [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "reliability.contract_hooks", "PYTHONPATH": str(ROOT)}
    if headers:
        environment[KEYED] = "1"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        command += ["--continue-on-failure", "--report", "json", "--report-json-path", str(path)]
        # In the folder, because it leaves files where it is run.
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        answer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if done.returncode not in {0, 1} or not answer.get("complete"):
        raise RuntimeError(f"schemathesis failed:\n{(done.stdout + done.stderr)[-2000:]}")
    if done.returncode == 1:
        sys.stderr.write(done.stdout)
    return answer
