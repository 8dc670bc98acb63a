"""`python -m reliability.fuzz.in_process FIRST CASES PROGRESS`: puts damaged tiles through the pipeline.

This is many times as fast as over HTTP. The file PROGRESS holds the number of the current case; after a crash of native
code, it is the case that caused it.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Any

from app.pipeline.bundle.load import load_bundle
from app.pipeline.errors import PipelineError
from app.pipeline.run import analyse
from bench import BUNDLE
from bench.process import peak_rss_mb, rss_mb
from reliability.fuzz.corpus import damaged, read_corpus, rng_of

MAX_PIXELS = 9_000_000
SEED = 1
"""Another seed than that of the cases over HTTP, so that the cases differ."""


def main(first: int, cases: int, progress: Path) -> dict[str, Any]:
    """Analyse damaged tiles.

    Args:
        first: number of the first case.
        cases: number of cases.
        progress: file that holds the number of the current case.

    Returns:
        Counts of outcomes by name, faults (case and error), the longest case in seconds, and memory in MB.
    """
    bundle, corpus = load_bundle(BUNDLE, 1), read_corpus()
    outcomes: Counter[str] = Counter()
    faults: list[str] = []
    longest = 0.0
    before = rss_mb()
    with progress.open("wb", buffering=0) as file:
        for case in range(first, first + cases):
            os.pwrite(file.fileno(), b"%20d" % case, 0)
            data, start = damaged(corpus, rng_of(SEED, case)), perf_counter()
            try:
                analyse(data, bundle, max_pixels=MAX_PIXELS)
                outcomes["tile"] += 1
            except PipelineError as error:
                outcomes[type(error).__name__] += 1
            except Exception as error:  # any other error is a fault of the pipeline
                faults.append(f"case {case}: {error!r}")
            longest = max(longest, perf_counter() - start)
    memory = {"before": before, "peak": peak_rss_mb(), "after": rss_mb()}
    return {"cases": cases, "outcomes": dict(outcomes), "faults": faults, "longest_s": longest, "rss_mb": memory}


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))))
