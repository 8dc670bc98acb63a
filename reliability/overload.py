"""`python -m reliability overload`: being written."""

from __future__ import annotations

from typing import Any


def measure(*, quick: bool) -> dict[str, Any]:
    """Figures of the experiment."""
    raise NotImplementedError(f"quick: {quick}")
