"""Faults of the bundle: its files are corrupted, truncated or removed, before the service starts and while it runs."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.pipeline.bundle.load import MANIFEST, REPLACEABLE
from app.pipeline.manifest import GENERATOR_ONNX, Q_ONNX, SAMPLE
from bench import BUNDLE
from reliability.faults.service import OK, READY, UNAVAILABLE, Healthy, ask, detail, finding, is_ready, started
from reliability.soak.clients import Answer
from reliability.soak.requests import get

GET_SAMPLE = get(f"/bundles/{BUNDLE.name}/{Path(SAMPLE).stem}")
QUICK = (("corrupted", Q_ONNX), ("truncated", MANIFEST), ("removed", GENERATOR_ONNX))


def corrupt(file: Path) -> None:
    """Flip one bit in the middle of a file."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def truncate(file: Path) -> None:
    """Keep the first half of a file."""
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])


DAMAGES: Mapping[str, Callable[[Path], None]] = {"corrupted": corrupt, "truncated": truncate, "removed": Path.unlink}


def before_the_start(right: Healthy, *, quick: bool) -> Iterator[dict[str, Any]]:
    """Damage each file in each way before a start, or only those of `QUICK`."""
    files = [MANIFEST, *json.loads((BUNDLE / MANIFEST).read_text(encoding="utf-8"))["files"]]
    every = ((damage, file) for file in files for damage in DAMAGES)
    for damage, file in QUICK if quick else every:
        with _copy() as bundle:
            DAMAGES[damage](bundle / file)
            with started(MARROWSCOPE_BUNDLES_DIR=str(bundle.parent)) as server:
                ready, answer = ask(server.address, READY), ask(server.address, right.exact)
        yield _judge(damage, file, right, ready, answer)


def number_changed(right: Healthy) -> Iterator[dict[str, Any]]:
    """Change a number of the manifest into another: no checksum covers the manifest itself."""
    with _copy() as bundle:
        manifest = bundle / MANIFEST
        values = json.loads(manifest.read_text(encoding="utf-8"))
        values["image_level"]["svm"]["bias"] += 1
        manifest.write_text(json.dumps(values), encoding="utf-8")
        with started(MARROWSCOPE_BUNDLES_DIR=str(bundle.parent)) as server:
            answer = ask(server.address, right.sample)
    named = json.loads(answer.body)["bundle"]["sha256"] if answer is not None and answer.status == OK else None
    wanted = right.expected[right.sample.name][2]["bundle"]["sha256"]  # type: ignore[index]
    yield finding(
        f"a number in {MANIFEST} changed before the start",
        "every answer names another bundle.sha256; the service cannot know which number is right",
        f"{detail(answer)} under {(named or '-')[:8]} in place of {wanted[:8]}",
        kept=named is not None and named != wanted,
        right=0,
        wrong=0,
        lost=int(answer is None),
    )


def while_it_runs(right: Healthy) -> Iterator[dict[str, Any]]:
    """Damage every file in each way while a service runs that has loaded them."""
    with _copy() as bundle, started(MARROWSCOPE_BUNDLES_DIR=str(bundle.parent)) as server:
        intact = ask(server.address, GET_SAMPLE)
        assert intact is not None
        assert intact.status == OK
        for name, damage in DAMAGES.items():
            for file in [path for path in bundle.rglob("*") if path.is_file()]:
                damage(file)
            answers = [ask(server.address, right.sample) for _ in range(3)]
            ready, sample = is_ready(server.address), ask(server.address, GET_SAMPLE)
            n_right = sum(right.is_right(answer) for answer in answers)
            is_reported = sample is not None and sample.status == UNAVAILABLE and SAMPLE in detail(sample)
            yield finding(
                f"every file of the bundle {name} while the service runs",
                "answers stay right; the endpoint of the sample reports what is wrong",
                f"sample: {detail(sample)}",
                kept=n_right == len(answers) and ready and is_reported,
                right=n_right,
                wrong=len(answers) - n_right,
                lost=answers.count(None),
            )


@contextmanager
def _copy() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copytree(BUNDLE, Path(folder) / BUNDLE.name))


def _judge(damage: str, file: str, right: Healthy, ready: Answer | None, answer: Answer | None) -> dict[str, Any]:
    if damage == "removed" and file in REPLACEABLE:
        promised, kept = "PyTorch or the full Q finds the same cells and clusters", right.has_right_clusters(answer)
    elif (damage, file) == ("removed", MANIFEST):
        promised = "/readyz and /analyze answer 503 and name the missing bundle"
        kept = _both_unavailable(ready, answer) and BUNDLE.name in detail(ready)
    else:
        promised = "/readyz and /analyze answer 503 and name the file"
        kept = _both_unavailable(ready, answer) and file in detail(ready)
    is_answered = answer is not None and answer.status == OK
    return finding(
        f"{file} {damage} before the start",
        promised,
        f"readyz {detail(ready)}; /analyze {answer.status if answer else 'lost'}",
        kept=kept,
        right=int(is_answered and right.has_right_clusters(answer)),
        wrong=int(is_answered and not right.has_right_clusters(answer)),
        lost=int(answer is None),
    )


def _both_unavailable(ready: Answer | None, answer: Answer | None) -> bool:
    return all(found is not None and found.status == UNAVAILABLE for found in (ready, answer))
