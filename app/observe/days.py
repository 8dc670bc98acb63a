"""What the tiles of each day were like: sums on the disk, and gauges of the last day.

Each UTC day has one JSON file, which all processes add to in turn. It holds numbers of tiles and sums, and nothing of a
single tile: no pixel, no name and no checksum.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel, Field

from app.files import write_whole
from app.lock import turn_in
from app.pipeline.reference_ranges import compare

if TYPE_CHECKING:
    from app.pipeline.bundle.load import Bundle
    from app.pipeline.run import Analysis

log = logging.getLogger(__name__)

ENOUGH_TILES = 20
"""A day with fewer tiles is shown only if no other day of the last ones has as many."""
SHOWN_DAYS = 7
"""Days, today among them, of which one is shown."""
MEANS = {
    "stain_distance": ("stain_distance", "Mean stain distance of the last day's tiles, in robust standard deviations."),
    "focus": ("focus", "Mean focus of the last day's tiles."),
    "tissue_fraction": ("tissue_ratio", "Mean share of the last day's tiles that is tissue, 0 to 1."),
    "nuclear_area_um2": (
        "nuclear_area_square_micrometres",
        "Mean over the last day's tiles of the median area of nuclei, in square micrometres.",
    ),
    "cells": ("cells", "Mean number of cells of the last day's tiles."),
    "outlier_share": ("outliers_ratio", "Mean share of cells unlike every training cell, over the last day's tiles."),
}
"""The quantities of a tile but proportions: how the metric of its mean ends, and what it is."""


class Sums(BaseModel):
    """Numbers of one quantity over tiles, which can be added to those of other tiles.

    Attributes:
        n: tiles that have the quantity.
        total: sum of their values.
        squares: sum of the squares of their values.
        low: the lowest value.
        high: the highest value.
    """

    n: int = 0
    total: float = 0.0
    squares: float = 0.0
    low: float | None = None
    high: float | None = None

    def add(self, value: float) -> None:
        """Add the value of one more tile."""
        self.n += 1
        self.total += value
        self.squares += value * value
        self.low = value if self.low is None else min(self.low, value)
        self.high = value if self.high is None else max(self.high, value)


class BundleDay(BaseModel):
    """What the tiles of one bundle were like on one day.

    Attributes:
        name: name of the bundle.
        version: version of the bundle.
        tiles: number of tiles.
        quantities: by the names of MEANS, and `proportion_K` for cluster K.
        flags: tiles by the code of a flag.
        labels: tiles by label.
    """

    name: str
    version: str
    tiles: int = 0
    quantities: dict[str, Sums] = Field(default_factory=dict)
    flags: dict[str, int] = Field(default_factory=dict)
    labels: dict[str, int] = Field(default_factory=dict)

    def add(self, values: Mapping[str, float], flags: Iterable[str], label: str) -> None:
        """Add one tile."""
        self.tiles += 1
        for name, value in values.items():
            self.quantities.setdefault(name, Sums()).add(value)
        for code in set(flags):
            self.flags[code] = self.flags.get(code, 0) + 1
        self.labels[label] = self.labels.get(label, 0) + 1


class Day(BaseModel):
    """The file of one UTC day: its bundles by the SHA-256 of their manifests, since a name may get a new version."""

    bundles: dict[str, BundleDay] = Field(default_factory=dict)


class Days:
    """The folder of daily summaries; several threads and processes may use it at once.

    Args:
        folder: it is made if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, bundle: Bundle, analysis: Analysis) -> None:
        """Add a tile to the summary of today. A summary that cannot be written is logged, and refuses no tile."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with turn_in(self.folder):
                # The day is looked up within the turn, so that it is the one in which the tile is counted.
                path = self._path(today())
                day = _read(path)
                manifest = bundle.manifest
                of_bundle = day.bundles.setdefault(
                    bundle.sha256, BundleDay(name=manifest.name, version=manifest.version)
                )
                codes = [flag.code for flag in analysis.quality.flags]
                of_bundle.add(quantities(bundle, analysis), codes, analysis.label.value)
                write_whole(day.model_dump_json(indent=1).encode(), path)
        except (OSError, ValueError) as error:
            log.warning("a tile is missing in the daily summaries of %s: %s", self.folder, error)

    def last(self, sha256: str) -> tuple[date, BundleDay] | None:
        """Return the last day of a bundle with enough tiles, else the last day with any; None if there is none.

        Args:
            sha256: that of the bundle's manifest.
        """
        newest: tuple[date, BundleDay] | None = None
        for days in range(SHOWN_DAYS):
            day = today() - timedelta(days=days)
            try:
                found = _read(self._path(day)).bundles.get(sha256)
            except (OSError, ValueError) as error:
                log.warning("the daily summary of %s cannot be read: %s", day, error)
                continue
            if found is not None and found.tiles >= ENOUGH_TILES:
                return day, found
            if found is not None and newest is None:
                newest = day, found
        return newest

    def _path(self, day: date) -> Path:
        return self.folder / f"{day.isoformat()}.json"


def today() -> date:
    """Return the day in UTC."""
    return datetime.now(UTC).date()


def quantities(bundle: Bundle, analysis: Analysis) -> dict[str, float]:
    """Return what is summed up of one tile, by name; a quantity that the tile does not have is left out.

    Areas are in µm². Where the scale of the tile is not known, it is taken to be the bundle's, as in the analysis.
    """
    quality, proportions = analysis.quality, analysis.proportions
    n_cells = len(analysis.cells)
    mpp = analysis.tile.mpp or bundle.manifest.mpp
    values: dict[str, float | None] = {
        "stain_distance": quality.stain_distance,
        "focus": quality.focus,
        "tissue_fraction": quality.tissue_fraction,
        "nuclear_area_um2": float(np.median(analysis.cells.areas_px)) * mpp**2 if n_cells else None,
        "cells": float(n_cells),
        "outlier_share": float(proportions.outlier.mean()) if n_cells else None,
    }
    if proportions.values is not None:
        values |= {f"proportion_{k}": float(share) for k, share in enumerate(proportions.values)}
    return {name: value for name, value in values.items() if value is not None and math.isfinite(value)}


class LastDay(Collector):
    """Gauges of the last day of every bundle that is served, and the limits that they are held against.

    Args:
        days: the summaries; None if none are kept, and then the metrics have no values.
    """

    def __init__(self, days: Days | None) -> None:
        self.days = days
        self.bundles: dict[str, Bundle] = {}
        """The bundles that are served, by name."""

    def collect(self) -> Iterator[Metric]:
        """Return the gauges; a bundle without a tile in the last days has limits only."""
        families = _families()
        if self.days is not None:
            for name, bundle in list(self.bundles.items()):
                _add_limits(families, name, bundle)
                if (found := self.days.last(bundle.sha256)) is not None:
                    _add_day(families, name, *found)
        yield from families.values()


def _families() -> dict[str, GaugeMetricFamily]:
    day = "marrowscope_day_"
    described: dict[str, tuple[str, str, list[str]]] = {
        "time": (f"{day}timestamp_seconds", "When the last day began (UTC), in seconds since 1970.", []),
        "tiles": (f"{day}tiles", "Tiles of the last day.", []),
        **{name: (f"{day}{ending}", text, []) for name, (ending, text) in MEANS.items()},
        "proportion": (
            f"{day}proportion_ratio",
            "Mean proportion of a cluster over the last day's tiles.",
            ["cluster"],
        ),
        "flags": (f"{day}flagged_ratio", "Share of the last day's tiles with a flag.", ["flag"]),
        "labels": (f"{day}labelled_ratio", "Share of the last day's tiles with a label.", ["label"]),
        "stain_limit": ("marrowscope_limit_stain_distance", "Stain distance above which a tile is flagged.", []),
        "focus_limit": ("marrowscope_limit_focus", "Focus below which a tile is flagged.", []),
        "reference": (
            "marrowscope_reference_proportion_ratio",
            "Lower and upper limit (limit low, high) of a cluster's proportion over the bundle's reference tiles.",
            ["cluster", "limit"],
        ),
    }
    return {
        key: GaugeMetricFamily(name, text, labels=["bundle", *labels])
        for key, (name, text, labels) in described.items()
    }


def _add_limits(families: Mapping[str, GaugeMetricFamily], name: str, bundle: Bundle) -> None:
    manifest = bundle.manifest
    families["stain_limit"].add_metric([name], manifest.quality.max_stain_distance)
    families["focus_limit"].add_metric([name], manifest.quality.min_focus)
    if manifest.reference_ranges is not None:
        for k, limits in enumerate(manifest.reference_ranges.proportions):
            found = compare(limits, None, 0)
            families["reference"].add_metric([name, str(k), "low"], found.low)
            families["reference"].add_metric([name, str(k), "high"], found.high)


def _add_day(families: Mapping[str, GaugeMetricFamily], name: str, day: date, found: BundleDay) -> None:
    families["time"].add_metric([name], datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    families["tiles"].add_metric([name], found.tiles)
    for quantity, sums in found.quantities.items():
        mean = sums.total / sums.n
        if quantity in MEANS:
            families[quantity].add_metric([name], mean)
        elif quantity.startswith("proportion_"):
            families["proportion"].add_metric([name, quantity.removeprefix("proportion_")], mean)
    for counts in ("flags", "labels"):
        for value, n in getattr(found, counts).items():
            families[counts].add_metric([name, value], n / found.tiles)


def _read(path: Path) -> Day:
    """Return the summary of a day, empty if there is none yet.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a summary.
    """
    try:
        return Day.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Day()
