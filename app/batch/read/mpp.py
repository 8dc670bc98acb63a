"""Whether what a file says of its scale can be meant."""

from __future__ import annotations

from collections.abc import Iterable

from app.pipeline.inputs import is_possible_mpp


def known_mpp(directions: Iterable[float | None]) -> float | None:
    """The mean of both directions, µm per px.

    Args:
        directions: µm per px along x and y; None where the file does not say.

    Returns:
        None where none is within what a microscope can mean: printers' 72 dpi are 353 µm per px.
    """
    said = [mpp for mpp in directions if mpp is not None and is_possible_mpp(mpp)]
    return sum(said) / len(said) if said else None
