"""The loop that evaluations of systems share: fit what is not recorded yet, and record each fit as it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from training.study.records import Record, Records
from training.study.systems.cell_systems import MissingSystemError

Report = Callable[[str], Any]


def record_fits(
    fits: Iterable[Record],
    again: bool,
    records: Records,
    report: Report,
    find: Callable[[str], Any],
    measure: Callable[[Any, Record], tuple[Record, str]],
) -> None:
    """Measure every fit that is not recorded yet, and record each as it ends.

    Args:
        fits: identity of each fit, with its set and its system.
        again: whether to measure again what is already recorded.
        records: receives the identity and the figures of each fit as soon as it is measured.
        report: called with a line about each fit, and about each system that cannot be run here and is skipped.
        find: returns the factory of a system by its name.
        measure: called with a factory and the identity; returns the figures, and the outcome in words.

    Raises:
        DataError: there is no system of a name.
    """
    for fit in fits:
        if not again and records.find(**fit):
            report(f"{describe(fit)}: recorded already")
            continue
        try:
            system = find(fit["system"])
        except MissingSystemError as error:
            report(str(error))
            continue
        figures, outcome = measure(system, fit)
        records.keep({**fit, **figures})
        report(f"{describe(fit)}: {outcome}")


def describe(fit: Record) -> str:
    """Return the identity of a fit in words."""
    numbers = {"n_clusters": "K =", "split": "split", "seed": "seed"}
    names = [fit[key] for key in ("set", "system", "way") if key in fit]
    return ", ".join([*names, *(f"{word} {fit[key]}" for key, word in numbers.items() if key in fit)])
