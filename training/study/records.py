"""Records of fits in a JSON file; an interrupted evaluation continues with those that are not in it yet."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from training.console import write_text

Record = dict[str, Any]
IDENTITY = ("set", "system", "way", "head", "n_clusters", "split", "seed", "other_seed", "fold")
"""Fields that identify a record; a field that an evaluation does not have is absent."""
LIBRARIES = ("numpy", "scikit-learn", "torch")


class Records:
    """The records of one evaluation.

    Args:
        path: JSON file, a list with a record on each line; it is made when the first record is kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Record]:
        """Return all records; none if there is no file."""
        return json.loads(self.path.read_text(encoding="utf-8")) if self.path.is_file() else []

    def find(self, **identity: Any) -> Record | None:
        """Return the record with this identity, or None."""
        return next((record for record in self.read() if _identity(record) == _identity(identity)), None)

    def keep(self, record: Record) -> None:
        """Add a record; it replaces one of the same identity.

        The file is read again and replaced as a whole, so that several processes may add to it (though not within the
        same millisecond).
        """
        kept = [one for one in self.read() if _identity(one) != _identity(record)]
        lines = [json.dumps(one, allow_nan=False, ensure_ascii=False) for one in sorted([*kept, record], key=_identity)]
        write_text(self.path, "[\n" + ",\n".join(lines) + "\n]\n")


def provenance() -> Record:
    """Return when and with what a record was measured: date (UTC), Python, libraries, threads and device."""
    # Imported here, because reading records does not need PyTorch.
    import torch

    return {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def _identity(record: Record) -> tuple[str, ...]:
    """Return the identity as texts, which can be compared whichever fields are absent."""
    return tuple(str(record.get(field, "")) for field in IDENTITY)
