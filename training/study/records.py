"""What was measured, a record for each fit, in a JSON file that an interrupted evaluation goes on from."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from training.console import write_text

Record = dict[str, Any]
IDENTITY = ("set", "system", "head", "n_clusters", "seed", "other_seed", "fold")
"""What tells one record from another; a field that a task does not have is absent."""
LIBRARIES = ("numpy", "scikit-learn", "torch")


class Records:
    """The records of one task.

    Args:
        path: JSON file, a list with a record on each line; made when the first record is kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Record]:
        """All records, empty where there is no file."""
        return json.loads(self.path.read_text(encoding="utf-8")) if self.path.is_file() else []

    def find(self, **identity: Any) -> Record | None:
        """The record of this identity."""
        return next((record for record in self.read() if _identity(record) == _identity(identity)), None)

    def keep(self, record: Record) -> None:
        """Add a record, in place of one of the same identity.

        The file is read anew and replaced whole, so that several processes may fill it (not at the same millisecond).
        """
        others = [other for other in self.read() if _identity(other) != _identity(record)]
        lines = [
            json.dumps(one, allow_nan=False, ensure_ascii=False) for one in sorted([*others, record], key=_identity)
        ]
        write_text(self.path, "[\n" + ",\n".join(lines) + "\n]\n")


def provenance() -> Record:
    """When and with what a record was measured: date (UTC), Python, libraries, threads, device."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def _identity(record: Record) -> tuple[str, ...]:
    """Comparable whatever is absent."""
    return tuple(str(record.get(field, "")) for field in IDENTITY)
