"""A client that behaves well: it posts the sample at a steady rate and checks every answer.

It shows whether well-behaved clients are served while an experiment runs.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import httpx
import numpy as np

from bench import BUNDLE

SAMPLE = BUNDLE / "sample.png"
"""The tile that the client posts."""
VARYING = ("request_id", "timing_ms")
"""Members of an answer that differ from one request to the next."""


@dataclass
class Experience:
    """What the client experienced.

    Attributes:
        seconds: duration of each right answer.
        wrong: description of everything else.
    """

    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Return the number of right and of wrong answers, and percentiles of the time in ms (None without answers)."""
        times = np.percentile(self.seconds, (50, 95, 100)) * 1000 if self.seconds else (None,) * 3
        return {
            "normal_right": len(self.seconds),
            "normal_wrong": len(self.wrong),
            **{f"normal_{name}_ms": value for name, value in zip(("p50", "p95", "max"), times, strict=True)},
        }


@contextmanager
def normal_client(url: str, expected: object, every_s: float) -> Iterator[Experience]:
    """Post the sample at a steady rate while the context lasts, one request at a time.

    Args:
        url: address of the service.
        expected: the `stable` part of the right answer.
        every_s: seconds from one request to the next.
    """
    experience, ended = Experience(), threading.Event()
    tile = SAMPLE.read_bytes()

    def keep_posting() -> None:
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            while not ended.is_set():
                start = perf_counter()
                try:
                    answer = client.post("/analyze", files={"tile": tile})
                    seconds = perf_counter() - start
                    is_right = answer.status_code == 200 and stable(answer.content) == expected
                except (httpx.HTTPError, ValueError) as error:
                    experience.wrong.append(repr(error))
                else:
                    if is_right:
                        experience.seconds.append(seconds)
                    else:
                        experience.wrong.append(f"{answer.status_code} {answer.text[:200]}")
                ended.wait(max(0.0, start + every_s - perf_counter()))

    thread = threading.Thread(target=keep_posting)
    thread.start()
    try:
        yield experience
    finally:
        ended.set()
        thread.join()


def first_answer(url: str) -> object:
    """Return the `stable` part of the sample's answer, from a service that has nothing else to do."""
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        return stable(client.post("/analyze", files={"tile": SAMPLE.read_bytes()}).raise_for_status().content)


def stable(body: bytes) -> Mapping[str, Any]:
    """Return what must be the same in every answer for one tile.

    Args:
        body: JSON body of a 200 of POST /analyze.

    Raises:
        ValueError: the body is not JSON.
    """
    answer: dict[str, Any] = json.loads(body)
    return {name: value for name, value in answer.items() if name not in VARYING}
