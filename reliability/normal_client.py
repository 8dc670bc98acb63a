"""A client that does nothing wrong, beside those that do: what does it notice?"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import httpx
import numpy as np

from reliability.serving import SAMPLE, stable


@dataclass
class Noticed:
    """Seconds of each right answer, and what else came."""

    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Of one row: answers, wrong ones, and times in ms (None without an answer)."""
        times = np.percentile(self.seconds, (50, 95, 100)) * 1000 if self.seconds else (None,) * 3
        return {
            "normal_right": len(self.seconds),
            "normal_wrong": len(self.wrong),
            **{f"normal_{name}_ms": value for name, value in zip(("p50", "p95", "max"), times, strict=True)},
        }


@contextmanager
def normal_client(url: str, expected: object, every_s: float) -> Iterator[Noticed]:
    """Post the sample at a steady rate meanwhile, one request at a time.

    Args:
        url: of the service.
        expected: `stable` of the sample's answer.
        every_s: from one request to the next.
    """
    noticed, ended = Noticed(), threading.Event()
    tile = SAMPLE.read_bytes()

    def go_on() -> None:
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            while not ended.is_set():
                start = perf_counter()
                try:
                    answer = client.post("/analyze", files={"tile": tile})
                    seconds = perf_counter() - start
                    is_right = answer.status_code == 200 and stable(answer.content) == expected
                except (httpx.HTTPError, ValueError) as error:
                    noticed.wrong.append(repr(error))
                else:
                    if is_right:
                        noticed.seconds.append(seconds)
                    else:
                        noticed.wrong.append(f"{answer.status_code} {answer.text[:200]}")
                ended.wait(max(0.0, start + every_s - perf_counter()))

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield noticed
    finally:
        ended.set()
        thread.join()


def first_answer(url: str) -> object:
    """`stable` of the sample's answer, from a service that has nothing else to do."""
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        return stable(client.post("/analyze", files={"tile": SAMPLE.read_bytes()}).raise_for_status().content)
