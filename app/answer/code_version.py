"""Which code answers, and on what: so that a result can be traced and repeated."""

from __future__ import annotations

import hashlib
import platform
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

from app import __version__

PACKAGE = Path(__file__).parents[1]
DIGITS = 12
"""Of the source's checksum that are told."""
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
"""Those that the numbers of an answer may pass through."""


@cache
def code_version() -> str:
    """The version, and a checksum of every Python file of the package: `0.1.0+5be1f0c2a9d3`.

    Two installations with the same one run the same code, whether they came from git, a wheel or an image. The checksum
    is the SHA-256 of each file's path in the package and the SHA-256 of its text, in the order of the paths.
    """
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py"), key=lambda path: path.relative_to(PACKAGE).as_posix()):
        # git may have given the lines the ends that Windows likes.
        text = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{path.relative_to(PACKAGE).as_posix()} {hashlib.sha256(text).hexdigest()}\n".encode())
    return f"{__version__}+{digest.hexdigest()[:DIGITS]}"


@cache
def environment() -> dict[str, str]:
    """The processor, and versions of Python and the libraries; the last digits of an answer may depend on each."""
    versions = {}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):  # One build of ONNX Runtime, or PyTorch in its place.
            versions[name] = metadata.version(name)
    return {"processor": processor(), "system": platform.system(), "python": platform.python_version(), **versions}


def processor() -> str:
    """What computes, as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []  # Not Linux.
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())
