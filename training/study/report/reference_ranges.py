"""The part on the reference ranges of the shipped bundle: how wide they are, and how many tiles lie within."""

from __future__ import annotations

from collections.abc import Iterator

from app.pipeline.measure.table import MEASUREMENTS
from app.pipeline.reference_ranges import MIN_SUBJECTS, Limits, ReferenceRanges, Region, compare

HEAD = """
### Reference ranges

Of {basis}, by `python -m training fit` or `refit`. Each range holds 95% of further tiles like
them that have as many cells. CLSI EP28-A3c asks for {number} patients; ranges of fewer, or of an unknown number, are
indicative. In brackets is where the true limit lies with 90% confidence. {left_out} was left out in
turn: on average, {within} of what was left out lay within the range{region}.

| proportion or median | low | high | left out and within |
|---|---|---|---|
"""


def reference_ranges(ranges: ReferenceRanges) -> str:
    """Return the table of all ranges."""
    head = HEAD.format(
        basis=ranges.basis,
        number=MIN_SUBJECTS,
        left_out="Each tile" if ranges.tiles[0].patient is None else "Each patient, with all tiles,",
        within=_share(ranges.left_out_within),
        region=_region(ranges.region),
    )
    return head + "".join(_row(title, limits) for title, limits in _titled(ranges) if limits is not None)


def _titled(ranges: ReferenceRanges) -> Iterator[tuple[str, Limits | None]]:
    for k, limits in enumerate(ranges.proportions):
        yield f"Cluster {k}", limits
    for measurement in MEASUREMENTS:
        symbol = measurement.symbol(True)
        yield measurement.title + (f" ({symbol})" if symbol else ""), ranges.of_median(measurement.name)
    yield "Cellularity", ranges.cellularity


def _row(title: str, limits: Limits) -> str:
    found = compare(limits, None, 0 if limits.cells is None else round(limits.cells))
    low, high = (
        f"{limit:.3g} ({interval[0]:.3g} to {interval[1]:.3g})"
        for limit, interval in ((found.low, found.low_interval), (found.high, found.high_interval))
    )
    return f"| {title} | {low} | {high} | {_share(limits.left_out_within)} |\n"


def _region(region: Region | None) -> str:
    if region is None:
        return ""
    shrunk = f", with a covariance shrunk by {region.shrinkage:.0%}" if region.shrinkage else ""
    return f", and {_share(region.left_out_within)} of compositions within the region of whole compositions{shrunk}"


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"
