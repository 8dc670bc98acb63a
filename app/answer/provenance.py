"""Where an answer comes from: the code and the machine that computed it, and a hash of what it found."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from app import __version__
from app.answer.schemas import BundleUsed, CorrectionsOut, ParametersOut

PACKAGE = Path(__file__).parents[1]
DIGITS = 12
"""Hexadecimal digits of the source's checksum that the code version shows."""
LIBRARIES = (
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "opencv-python-headless",
    "pillow",
    "scikit-image",
    "scipy",
    "torch",
)
"""The libraries that the numbers of an answer may pass through."""
UNHASHED = frozenset({"request_id", "code_version", "timing_ms", "result_sha256"})
UNHASHED_OF_BUNDLE = frozenset({"backend", "device"})
"""The members that say who answered, where and how fast. Answers that differ in nothing else are the same result."""


class Record(BaseModel):
    """What the audit log keeps of an answer.

    Attributes:
        parameters: they repeat the analysis.
        bundle: it found the result.
        code_version: see `code_version`.
        environment: see `environment`.
        result_sha256: see `result_sha256`.
        n_cells: number of cells.
        corrections: how many cells have a type that a person has given, and who; None where nobody has given any.
        label: normal, abnormal or indeterminate.
        flags: codes of the tile's quality flags.
    """

    parameters: ParametersOut
    bundle: BundleUsed
    code_version: str
    environment: dict[str, str]
    result_sha256: str
    n_cells: int
    corrections: CorrectionsOut | None = Field(default=None, exclude_if=lambda corrections: corrections is None)
    label: str
    flags: list[str]


def result_sha256(answer: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what an answer found, in hexadecimal.

    It is the hash of the answer's canonical JSON: without the members above, sorted by name, without spaces, with
    numbers as Python writes them, in UTF-8. docs/decisions/0015-provenance.md shows how to compute it again.

    Args:
        answer: the members of an AnalysisOut, by name.
    """
    bundle = {name: value for name, value in answer["bundle"].items() if name not in UNHASHED_OF_BUNDLE}
    found = {**{name: value for name, value in answer.items() if name not in UNHASHED}, "bundle": bundle}
    text = json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def code_version() -> str:
    """Return the version and a checksum of every Python file of the package, as in `0.1.0+5be1f0c2a9d3`.

    Two installations with the same code version run the same code, whether they came from git, a wheel or an image. The
    checksum is the SHA-256 of each file's path in the package and the SHA-256 of its text, in the order of the paths.
    """
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py"), key=lambda path: path.relative_to(PACKAGE).as_posix()):
        # On Windows, git may have changed the line ends.
        text = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{path.relative_to(PACKAGE).as_posix()} {hashlib.sha256(text).hexdigest()}\n".encode())
    return f"{__version__}+{digest.hexdigest()[:DIGITS]}"


@cache
def environment() -> dict[str, str]:
    """Return the processor, the system, and the versions of Python and the libraries.

    The last digits of an answer may depend on each of them.
    """
    versions = {}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):  # There is one build of ONNX Runtime, or PyTorch in its place.
            versions[name] = metadata.version(name)
    return {"processor": processor(), "system": platform.system(), "python": platform.python_version(), **versions}


def processor() -> str:
    """Return the name of the processor, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []  # This is not Linux.
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())
