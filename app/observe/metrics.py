"""The metrics of the service, in Prometheus' text format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from app import __version__
from app.observe.days import Days, LastDay
from app.observe.processes import shown_registry

if TYPE_CHECKING:
    from pathlib import Path

    from app.pipeline.bundle.load import Bundle
    from app.pipeline.run import Analysis

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
REQUEST_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
STAGE_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
UPLOAD_BUCKETS = (10_000, 100_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 20_000_000)
LABELS = ("normal", "abnormal", "indeterminate")
NO_FLAG = "none"
"""The flag of a label that was withheld without a flag: there were too few cells, or the score fits both labels."""

# The time when a series began is not needed, and would double the number of series.
disable_created_metrics()


class Metrics:
    """The metrics of one process, or of several processes that share their numbers.

    The values of every metric label come from a fixed set, so that the number of series stays small: route templates,
    known methods, statuses, stages, flag codes and loaded bundles.

    Args:
        drift_dir: the folder of daily summaries; None to keep none.
    """

    def __init__(self, drift_dir: Path | None = None) -> None:
        own = CollectorRegistry()
        self.requests = Counter(
            "marrowscope_requests", "Requests that were answered.", ["route", "method", "status"], registry=own
        )
        self.request_seconds = Histogram(
            "marrowscope_request_seconds",
            "Time from the headers of a request to the end of its answer, including the upload, in seconds.",
            ["route"],
            buckets=REQUEST_BUCKETS_S,
            registry=own,
        )
        self.upload_bytes = Histogram(
            "marrowscope_upload_bytes",
            "Size of each body of POST /analyze, in bytes.",
            buckets=UPLOAD_BUCKETS,
            registry=own,
        )
        self.stage_seconds = Histogram(
            "marrowscope_stage_seconds",
            "Duration of each stage of an analysis, in seconds; the stage total is all of them.",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=own,
        )
        self.tiles = Counter("marrowscope_tiles", "Tiles that were analysed.", ["bundle", "label"], registry=own)
        self.cells = Counter("marrowscope_cells", "Cells of the analysed tiles.", ["bundle"], registry=own)
        self.outliers = Counter("marrowscope_outliers", "Cells unlike every training cell.", ["bundle"], registry=own)
        self.abstentions = Counter(
            "marrowscope_abstentions",
            "Tiles without a label, by the flag that prevented it; a tile with several flags counts for each of them.",
            ["bundle", "flag"],
            registry=own,
        )
        self.waiting = _sum_gauge("marrowscope_queue_length", "Requests that wait for a worker.", own)
        self.busy = _sum_gauge("marrowscope_workers_busy", "Workers that are analysing a tile.", own)
        self.workers = _sum_gauge("marrowscope_workers", "Workers of the service.", own)
        self.places = _sum_gauge(
            "marrowscope_queue_limit",
            "Requests that may wait; more are answered 503.",
            own,
        )
        self.ready = Gauge(
            "marrowscope_ready",
            "1 if the process that was asked last is ready (/readyz), else 0.",
            registry=own,
            multiprocess_mode="livemostrecent",
        )
        self.bundle = Gauge(
            "marrowscope_bundle_info",
            "The served bundles, each with its backend and device.",
            ["bundle", "version", "backend", "device"],
            registry=own,
            multiprocess_mode="livemax",
        )
        self.build = Gauge(
            "marrowscope_build_info", "The version of the code.", ["version"], registry=own, multiprocess_mode="livemax"
        )
        self.build.labels(__version__).set(1)
        self._days = None if drift_dir is None else Days(drift_dir)
        self._last_day = LastDay(self._days)
        self._shown = shown_registry(own)
        # Every process reads the same files, so it must not be among what is added up.
        self._shown.register(self._last_day)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._shown)

    def loaded(self, bundle: Bundle) -> None:
        """Record that a bundle is served; its counters start at 0, so that its first tile shows as an increase."""
        name, version = bundle.manifest.name, bundle.manifest.version
        self.bundle.labels(name, version, bundle.backend.name, bundle.backend.device).set(1)
        for label in LABELS:
            self.tiles.labels(name, label)
        self.cells.labels(name)
        self.outliers.labels(name)
        self._last_day.bundles[name] = bundle

    def analysed(self, bundle: Bundle, analysis: Analysis) -> None:
        """Count an analysed tile, its cells, its stages and why it has no label, and add it to the day's summary."""
        for stage, ms in analysis.timing_ms.items():
            self.stage_seconds.labels(stage).observe(ms / 1000)
        name, label = bundle.manifest.name, analysis.label.value
        self.tiles.labels(name, label).inc()
        self.cells.labels(name).inc(len(analysis.cells.areas_px))
        self.outliers.labels(name).inc(int(analysis.proportions.outlier.sum()))
        if label == "indeterminate":
            for code in [flag.code for flag in analysis.quality.flags if flag.prevents_label] or [NO_FLAG]:
                self.abstentions.labels(name, code).inc()
        if self._days is not None:
            self._days.add(bundle, analysis)


def _sum_gauge(name: str, documentation: str, registry: CollectorRegistry) -> Gauge:
    """Return a gauge that is summed over the living processes."""
    return Gauge(name, documentation, registry=registry, multiprocess_mode="livesum")
